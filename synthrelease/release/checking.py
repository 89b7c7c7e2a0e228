"""The commands by which a recipient without synthrelease checks a pack; RELEASE.md and docs/release.md print them.

Tests run them as they are printed. They are run in the pack's folder, write nothing into it, and need sh, sed, base64,
sha256sum, find and OpenSSL 3.
"""

from __future__ import annotations

_BEGIN = """\
( set -eu
  T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
"""

_SIGNATURE = r"""
  # the signature over the statement
  sed -n 's/^  "payload": "\(.*\)",$/\1/p' release.dsse.json | base64 -d > "$T/statement"
  sed -n 's/^      "sig": "\(.*\)"$/\1/p' release.dsse.json | base64 -d > "$T/signature"
  { printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(wc -c < "$T/statement")"; cat "$T/statement"; } > "$T/signed"
  openssl pkeyutl -verify -pubin -inkey "$KEY" -rawin -in "$T/signed" -sigfile "$T/signature"

  # the three files that the statement names
  for F in manifest-sha256.txt release.json tagmanifest-sha256.txt; do
    D=$(sha256sum < $F | cut -c1-64)
    grep -qF "{\"digest\":{\"sha256\":\"$D\"},\"name\":\"$F\"}" "$T/statement" || { echo "$F: not the one signed"; exit 1; }
  done
"""

_FILES = r"""
  # every file that the two manifests name
  sha256sum -c --quiet manifest-sha256.txt tagmanifest-sha256.txt

  # and no other, nor an empty folder
  { cut -c67- manifest-sha256.txt tagmanifest-sha256.txt; printf '%s\n' ABOVE; } | LC_ALL=C sort > "$T/named"
  find . '(' ! -type d -o -empty ')' | cut -c3- | LC_ALL=C sort > "$T/found"
  diff "$T/named" "$T/found"
  test -z "$(find . ! -type d ! -type f)" || { echo "a link instead of a file"; exit 1; }
"""

CHECK_SIGNATURE = (
    "KEY=../KEY.pub.pem\n"
    + _BEGIN
    + _SIGNATURE
    + _FILES.replace("ABOVE", "release.dsse.json release.json tagmanifest-sha256.txt")
    + "  echo 'all as signed' )\n"
)
"""For a signed pack: signature, statement, every byte. The last line tells that all of it holds."""

CHECK_FILES = (
    _BEGIN
    + _FILES.replace("ABOVE", "release.json tagmanifest-sha256.txt").removeprefix("\n")
    + "  echo 'the files fit together' )\n"
)
"""For a pack that is not signed."""

KEY_ID = "openssl pkey -pubin -in ../KEY.pub.pem -outform DER | sha256sum\n"
"""Prints the id of a key."""
