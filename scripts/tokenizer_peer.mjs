// Compares our tokenizer with the reference (npm package tiktoken, Rust as WebAssembly): every code
// point in several contexts, then generated strings over the classes of the pre-tokenizer.
//
//   npm install tiktoken        (in any folder)
//   node scripts/tokenizer_peer.mjs THAT_FOLDER BUILD/bin/tokenizer_peer RANK_FILE [STRINGS] [SEED] [TEXT_FILE ...]
//
// Prints what it compared and the first difference; exit status 1 if there is one.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, binary, rank_file, strings_text = "100000", seed_text = "1", ...files] = process.argv.slice(2);
if (!folder || !binary || !rank_file) {
  console.error("usage: tokenizer_peer.mjs NODE_FOLDER TOKENIZER_PEER RANK_FILE [STRINGS] [SEED] [TEXT_FILE ...]");
  process.exit(2);
}
const require = createRequire(resolve(folder, "package.json"));
const reference = require("tiktoken").get_encoding("o200k_base");

const kAlphabet = [
  "a", "b", "e", "s", "t", "re", "ve", "m", "ll", "d", "ing", "the", "word", "A", "B", "S", "LL", "RE", "Th", "\u01c5",
  "\u0130", "\u00c9", "\u00e9", "\u00df", "\u0416", "\u0436", "\u03b1", "\u03a9", "\u4e2d", "\u6587", "\u3042", "\ud55c",
  "\u0e01", "\u05d0", "\u02b0", "\u0640", "\u0301", "\u0300", "\u093f", "\u20e3", "\ufe0f", "0", "1", "23", "\u0661",
  "\u00b2", "\u2167", " ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\ufeff", "\u200b", "\u200d",
  "\r", "\n", "\n", "\r\n", "/", "/", "'", "'", "'s", "'S", "'\u017f", "\u017f", "'re", "'LL", ".", ",", "!", "(", "-", "_",
  "\"", "\u2019", "\u201c", "\u2014", "\u{1f468}\u200d\u{1f469}", "\u{1f600}", "\u0378", "\ue000", "\u{10ffff}", "\0",
  "\x1f", "\u{1d400}", "\u{10400}", "\u{10428}", "\u212a", "<|endoftext|>",
];

let state = BigInt(seed_text) | 1n;
function below(bound) {
  state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
  return Number((state >> 33n) % BigInt(bound));
}

function classText() {
  let text = "";
  for (let left = 1 + below(40); left > 0; --left) {
    text += kAlphabet[below(kAlphabet.length)].repeat(below(8) === 0 ? 1 + below(6) : 1);
  }
  return text;
}

function* sweep() {
  const contexts = [
    (c) => c, (c) => "a" + c + "b", (c) => "A" + c + "B", (c) => " " + c + " x", (c) => "1" + c + "1", (c) => "." + c + "\n",
    (c) => c + c + "Ab", (c) => "'" + c + "'s", (c) => "\n" + c + "\n", (c) => "\u4e2d" + c + "A ",
  ];
  for (let c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    // Beyond the last assigned plane every 97th code point will do.
    if (c > 0x33480 && !(c >= 0xe0000 && c < 0xe0200) && c % 97 !== 0) continue;
    for (const context of contexts) yield context(String.fromCodePoint(c));
  }
}

function* generated() {
  for (let i = 0; i < Number(strings_text); ++i) yield classText();
}

function* lines() {
  for (const file of files) yield* readFileSync(file, "utf8").split(/(?<=\n\n)/);
}

let compared = 0;
function compare(batch) {
  const input = batch.map((text) => Buffer.from(text).toString("base64") + "\n").join("");
  const run = spawnSync(binary, [rank_file], { input, maxBuffer: 1 << 30 });
  if (run.status !== 0) throw new Error(`${binary}: ${run.stderr}`);
  const ours = run.stdout.toString().split("\n");
  batch.forEach((text, i) => {
    const ids = Array.from(reference.encode_ordinary(text)).join(" ");
    if (ours[i].trim() !== ids) {
      console.log(`differs on ${JSON.stringify(text)}\n  reference ${ids}\n  ours      ${ours[i]}`);
      process.exit(1);
    }
  });
  compared += batch.length;
}

for (const [name, source] of [["code points in context", sweep()], ["generated strings", generated()],
                              ["paragraphs", lines()]]) {
  const before = compared;
  let batch = [];
  for (const text of source) {
    batch.push(text);
    if (batch.length === 200000) {
      compare(batch);
      batch = [];
    }
  }
  if (batch.length > 0) compare(batch);
  console.log(`${name}: ${compared - before} equal`);
}
