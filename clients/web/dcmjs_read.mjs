// Segmentations through dcmjs: what a JavaScript viewer sees of each file, as JSON.
//
//   node dcmjs_read.mjs FILE...   ->   [{syntheticData, type, rows, columns, segments: [{number, label, mask}]}]
//
// A mask is base64, one byte a pixel, 0 or 1. Compressed pixels are not for dcmjs: it has no decoders.
import { readFileSync } from "node:fs";
import dcmjs from "dcmjs";

dcmjs.log.setLevel("error");
const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

const listed = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

// Functional groups are sequences of one item, which dcmjs shows as an array with the item's own attributes.
const only = (value) => listed(value)[0];

function pixels(data) {
  const stored = new Uint8Array(only(data.PixelData));
  return data.BitsAllocated === 1 ? dcmjs.data.BitArray.unpack(stored) : stored;
}

function read(path) {
  const content = readFileSync(path);
  const message = DicomMessage.readFile(
    content.buffer.slice(content.byteOffset, content.byteOffset + content.byteLength),
  );
  const data = DicomMetaDictionary.naturalizeDataset(message.dict);
  const size = data.Rows * data.Columns;
  const values = pixels(data);
  const binary = data.SegmentationType === "BINARY";
  // What is the same for all frames stands in the shared groups.
  const shared = only(data.SharedFunctionalGroupsSequence);
  const frames = listed(data.PerFrameFunctionalGroupsSequence).map((groups, index) => ({
    segment: only(groups.SegmentIdentificationSequence ?? shared.SegmentIdentificationSequence)?.ReferencedSegmentNumber,
    values: values.subarray(index * size, (index + 1) * size),
  }));
  const mask = (number) => {
    const frame = binary ? frames.find((one) => one.segment === number) : frames[0];
    return frame.values.map((value) => (binary ? Number(value !== 0) : Number(value === number)));
  };
  return {
    syntheticData: data.SyntheticData,
    type: data.SegmentationType,
    rows: data.Rows,
    columns: data.Columns,
    segments: listed(data.SegmentSequence)
      .filter((segment) => segment.SegmentNumber > 0)
      .map((segment) => ({
        number: segment.SegmentNumber,
        label: segment.SegmentLabel,
        mask: Buffer.from(mask(segment.SegmentNumber)).toString("base64"),
      })),
  };
}

console.log(JSON.stringify(process.argv.slice(2).map(read)));
