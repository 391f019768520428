// Judges JavaScript with acorn, the parser inside node, apart from our own machine:
//   node --expose-internals javascript_check.cjs CASES
// CASES has one JSON object a line. {"text": ...} is read token by token: strings, templates,
// regular expressions and comments must be closed, brackets must match. {"file": ...} is parsed as
// a script, else as a module. The answer to each is one line: "ok", "open: ..." when one of these
// constraints is hurt, "other: ..." for what else is wrong with it.
'use strict';

const fs = require('fs');
const acorn = require('internal/deps/acorn/acorn/dist/acorn');

// That a regular expression ends is asked here, not what stands in it.
class Reader extends acorn.Parser {
  validateRegExpPattern() {}
}

const tokens = acorn.tokTypes;
const closers = new Map([
  [tokens.parenL, tokens.parenR],
  [tokens.bracketL, tokens.bracketR],
  [tokens.braceL, tokens.braceR],
  [tokens.dollarBraceL, tokens.braceR],
]);

function judgeText(text) {
  const open = [];
  for (const token of Reader.tokenizer(text, {ecmaVersion: 'latest', allowHashBang: true})) {
    const wanted = open[open.length - 1];
    if (token.type === tokens.backQuote) {
      if (wanted === tokens.backQuote) open.pop();
      else open.push(tokens.backQuote);
    } else if (closers.has(token.type)) {
      open.push(closers.get(token.type));
    } else if ([tokens.parenR, tokens.bracketR, tokens.braceR].includes(token.type)) {
      if (open.pop() !== token.type) return `open: bracket at ${token.start}`;
    }
  }
  return open.length === 0 ? 'ok' : 'open: brackets at the end';
}

function judgeFile(path) {
  const text = fs.readFileSync(path, 'utf8').replace(/^\uFEFF/, '');
  const options = {ecmaVersion: 'latest', allowHashBang: true, allowReturnOutsideFunction: true};
  try {
    acorn.parse(text, options);
  } catch {
    acorn.parse(text, {...options, sourceType: 'module'});
  }
  return 'ok';
}

function judge(line) {
  const {text, file} = JSON.parse(line);
  try {
    return file === undefined ? judgeText(text) : judgeFile(file);
  } catch (error) {
    return `${/^Unterminated/.test(error.message) ? 'open' : 'other'}: ${error.message}`;
  }
}

const lines = fs.readFileSync(process.argv[2], 'utf8').split('\n').filter((line) => line !== '');
process.stdout.write(lines.map((line) => `${judge(line)}\n`).join(''));
