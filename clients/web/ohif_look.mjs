// What a person sees who opens studies in the OHIF viewer and double-clicks their segmentations.
//
//   node ohif_look.mjs < {"browser": PATH, "studies": [{"address": URL, "picture": PATH or null}]}
//   -> [{"masks": [{"instance": UID, "segments": [{"number", "label", "color", "mask"}]}], "complaints": [TEXT]}]
//
// Complaints are errors of the viewer's own, failed requests, and what it waited for in vain.
// A mask is base64, one byte a pixel, 0 or 1, taken from the label maps that the viewer draws.
import { text } from "node:stream/consumers";
import puppeteer from "puppeteer-core";

const WAIT = { timeout: 90_000 };
const SEGMENTATION_ROW = '[data-cy="study-browser-thumbnail-no-image"]';
const PANEL = '[data-cy="panelSegmentation-btn"]';

const FLAGS = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
  // Draws without a graphics card.
  "--use-gl=angle",
  "--use-angle=swiftshader",
  "--enable-unsafe-swiftshader",
  // Chromium's sandbox refuses to run as root.
  ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
];

const shownMasks = () => {
  const { segmentationService, viewportGridService } = window.services;
  const viewport = viewportGridService.getActiveViewportId();
  return segmentationService.getSegmentations().map((segmentation) => {
    const { labelmaps, segmentBindings } = segmentation.representationData.Labelmap;
    const maskOf = (number) => {
      const { labelmapId, labelValue } = segmentBindings[number];
      // Segments that overlap lie in several layers of one label map.
      const layers = labelmaps[labelmapId].imageIds.map((id) => window.cornerstone.cache.getImage(id).getPixelData());
      const inside = Array.from(layers[0], (_, pixel) => layers.some((layer) => layer[pixel] === labelValue));
      return btoa(inside.map((one) => String.fromCharCode(Number(one))).join(""));
    };
    // The active viewport has colours for the segmentations that it draws.
    const drawn = segmentationService.getSegmentationRepresentations(viewport, segmentation).length > 0;
    return {
      instance: segmentation.predecessorImageId.match(/instances\/([\d.]+)/)[1],
      segments: Object.values(segmentation.segments).map(({ segmentIndex, label }) => ({
        number: segmentIndex,
        label,
        color: drawn
          ? segmentationService.getSegmentColor(viewport, segmentation.segmentationId, segmentIndex).slice(0, 3)
          : null,
        mask: maskOf(segmentIndex),
      })),
    };
  });
};

// Before its first image is drawn the viewer forgets a double-click.
const firstImageShown = () =>
  window.cornerstone.getRenderingEngines()?.[0]?.getViewports().some((viewport) => viewport.getCurrentImageId?.());

const loaded = () => window.services.segmentationService.getSegmentations().length;

async function segmentationRows(page) {
  const rows = await page.$$(SEGMENTATION_ROW);
  const kinds = await Promise.all(
    rows.map((row) => row.$eval('[data-cy="series-modality-label"]', (label) => label.textContent.trim())),
  );
  return rows.filter((_, index) => kinds[index] === "SEG");
}

async function open(page, row) {
  const before = await page.evaluate(loaded);
  await row.click({ count: 2 });
  await page.waitForFunction(
    (wanted) => window.services.segmentationService.getSegmentations().length >= wanted,
    WAIT,
    before + 1,
  );
  // "Do you want to open this Segmentation?"
  await page.locator("::-p-text(Yes)").setTimeout(WAIT.timeout).click();
  await page.waitForFunction(() => !document.body.innerText.includes("open this Segmentation"), WAIT);
}

async function look(page, { address, picture }) {
  await page.goto(address, { waitUntil: "domcontentloaded" });
  await page.waitForFunction(
    () => window.services?.displaySetService.getActiveDisplaySets().some((set) => set.Modality === "SEG"),
    WAIT,
  );
  await page.waitForSelector(SEGMENTATION_ROW, WAIT);
  await page.waitForFunction(firstImageShown, WAIT);
  const masks = new Map();
  const count = (await segmentationRows(page)).length;
  for (let index = 0; index < count; index += 1) {
    await open(page, (await segmentationRows(page))[index]);
    for (const mask of await page.evaluate(shownMasks)) {
      // Another image of the patient may have taken the viewport since: keep what was told while it was drawn.
      if (!masks.get(mask.instance)?.segments[0].color) masks.set(mask.instance, mask);
    }
  }
  if (picture) {
    if (await page.$(PANEL)) await page.click(PANEL);
    await new Promise((resolve) => setTimeout(resolve, 2000));
    await page.screenshot({ path: picture });
  }
  return [...masks.values()];
}

const { browser: executablePath, studies } = JSON.parse(await text(process.stdin));
const browser = await puppeteer.launch({ executablePath, headless: true, pipe: true, args: FLAGS });
try {
  const page = await browser.newPage();
  await page.setViewport({ width: 1200, height: 760 });
  // The viewer's guided tour would lie over the pictures.
  await page.evaluateOnNewDocument(() => localStorage.setItem("shownTours", '["basicViewerTour"]'));
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("response", (answer) => answer.status() >= 400 && complaints.push(`${answer.status()} ${answer.url()}`));
  const seen = [];
  for (const study of studies) {
    const masks = await look(page, study).catch((error) => {
      complaints.push(String(error));
      return [];
    });
    seen.push({ masks, complaints: complaints.splice(0) });
  }
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
