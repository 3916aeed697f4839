// A client of framekeep written from its contract alone, with the stock gRPC packages of Node:
//
//   node client.cjs HOST:PORT PROTO_FOLDER...
//
// The folders are those of the contract and of google/rpc/*.proto. Prints one JSON document of what it was told.
"use strict";

const { randomUUID } = require("node:crypto");
const { once } = require("node:events");
const { promisify } = require("node:util");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const WIDTH = 64;
const HEIGHT = 48;

const [address, ...includeDirs] = process.argv.slice(2);
const options = { includeDirs, longs: Number, enums: String, defaults: true, oneofs: true, keepCase: true };
const contract = loader.loadSync("framekeep/v1/video_memory.proto", options);
const details = loader.loadSync("google/rpc/error_details.proto", options);
const { framekeep } = grpc.loadPackageDefinition(contract);
const service = new framekeep.v1.VideoMemoryService(address, grpc.credentials.createInsecure());
const call = (method, request) => promisify(service[method]).call(service, request);

// Raw pixels of vertical stripes; the number says how wide they are and in which colour.
function picture(number) {
  const data = Buffer.alloc(WIDTH * HEIGHT * 3);
  for (let pixel = 0; pixel < WIDTH * HEIGHT; pixel += 1) {
    const isLight = Math.floor((pixel % WIDTH) / 4 ** number) % 2 === 0;
    data[3 * pixel + number] = isLight ? 255 : 40;
  }
  return { raw: { width: WIDTH, height: HEIGHT, format: "PIXEL_FORMAT_RGB24", data } };
}

// One session of pictures, a tenth of a second apart; gives the verdicts.
async function stream(name, numbers) {
  const ingest = service.Ingest();
  const opened = once(ingest, "data");
  ingest.write({ opening: { stream: name, session_id: randomUUID(), start_time: { seconds: 1_000_000 } } });
  const [{ opened: terms }] = await opened;
  const verdicts = [];
  ingest.on("data", (response) => verdicts.push(...response.verdicts.verdicts));
  const frames = numbers.map((number, seq) => ({ seq, pts_us: seq * 100_000, picture: picture(number) }));
  ingest.write({ frames: { frames } });
  ingest.end();
  await once(ingest, "end");
  return { next_seq: terms.next_seq, verdicts };
}

// What the contract says of an error: the status, and the ErrorInfo in its details.
function told(error) {
  const [trailer] = error.metadata.get("grpc-status-details-bin");
  const status = contract["google.rpc.Status"].deserialize(trailer);
  const info = status.details.find((detail) => detail.type_url.endsWith("/google.rpc.ErrorInfo"));
  const { reason, domain, metadata } = details["google.rpc.ErrorInfo"].deserialize(info.value);
  return { code: grpc.status[error.code], message: status.message, reason, domain, metadata };
}

// The error that a call ends with.
async function failure(promise) {
  const [outcome] = await Promise.allSettled([promise]);
  if (outcome.status === "fulfilled") {
    throw new Error("expected an error, got an answer");
  }
  return told(outcome.reason);
}

async function main() {
  const name = "memories/node";
  const info = await call("GetServerInfo", {});
  const created = await call("CreateMemory", { memory: { name, novelty_threshold: 0.2 } });
  const { next_seq, verdicts } = await stream(`${name}/streams/cam`, [0, 0, 2, 0]);
  const answer = await call("Query", { memory: name, picture: picture(2), top: 1 });
  const listed = await call("ListExemplars", { parent: name, include_thumbnails: true });
  return {
    dimensions: [info.dimension, created.dimension],
    threshold: created.novelty_threshold,
    next_seq,
    verdicts: verdicts.map(({ seq, kind, exemplar }) => [seq, kind, exemplar]),
    seen: answer.seen,
    matches: answer.matches.map(({ exemplar, frame_count }) => [exemplar, frame_count]),
    context_floats: answer.attention.context_vector.values.length,
    exemplars: listed.exemplars.map(({ name: id, seq, thumbnail }) => [id, seq, thumbnail.subarray(0, 3).toString("hex")]),
    missing: await failure(call("GetMemory", { name: "memories/nowhere" })),
    refused: await failure(call("CreateMemory", { memory: { name: "memories/other", novelty_threshold: 7 } })),
    taken: await failure(call("CreateMemory", { memory: { name } })),
  };
}

main()
  .then((document) => console.log(JSON.stringify(document)))
  .finally(() => service.close());
