// What every script finds without importing it. Runs before the script's own top level, during the build; the snapshot taken
// then is what devices start from. So nothing here may ask the device before `start`.
import { write } from 'iottly:firmware/log@0.1.0';
import { nowMs, monotonicNs } from 'iottly:firmware/clock@0.1.0';
import { seed } from 'iottly:firmware/random@0.1.0';
import { send } from 'iottly:firmware/telemetry@0.1.0';
import sections from './sections.js';

// The language's own functions as they are now: a script may replace them, and what is said to the device must not depend on that.
const bound = Function.prototype.bind.bind(Function.prototype.call);
const { stringify, parse } = JSON;
const { floor, max, min, round } = Math;
const String_ = String;
const Number_ = Number;
const Error_ = Error;
const TypeError_ = TypeError;
const isArray = Array.isArray;
const cut = bound(String.prototype.slice);
const wellFormed = bound(String.prototype.toWellFormed);
export { bound, floor, max, min, parse, round, stringify };

// Most characters of a text that is no payload: the device takes fewer of each.
const MAX_TEXT = 8192;

// A text as the device takes it: no halves of characters, whatever it was made of. Payloads are mended by the device itself.
export const clean = (value) => wellFormed(cut(typeof value === 'string' ? value : String_(value), 0, MAX_TEXT));

// A whole number as the device takes it.
export const whole = (what, value, most = 4294967295) => {
  const number = Number_(value);
  if (typeof value === 'number' && floor(number) === number && number >= 0 && number <= most) return number;
  throw new Fault('invalid', `${what}: ${clean(value)} is not a whole number from 0 to ${most}`);
};

// One of the words that the device knows.
export const word = (what, value, words) => {
  for (let i = 0; i < words.length; i++) if (words[i] === value) return words[i];
  throw new Fault('invalid', `${what}: ${clean(value)} is not one of ${words.join(', ')}`);
};

// Bytes as the device takes them, copied out of whatever the script has.
const byteArray = Uint8Array.from.bind(Uint8Array);
export const bytes = (value) => byteArray(value);

let started = false;
const early = [];
const MAX_EARLY = 50;

export const onDevice = (what) => {
  if (!started) throw new Error(`${what} needs the device: use it in init() or later, the top level runs when the script is built`);
};

// A reason the platform knows. `tag` is one of invalid, unsupported, denied, busy, limit, io, failed.
class Fault extends Error {
  constructor(tag, message) {
    super(message === undefined ? tag : message);
    this.name = 'Fault';
    this.tag = tag;
  }
}

// A kind of fault that the device knows; undefined for any other value.
export const kind = (tag) => {
  switch (tag) {
    case 'invalid': case 'unsupported': case 'denied': case 'busy': case 'limit': case 'io': case 'failed': return tag;
    default: return undefined;
  }
};

// What a call into the device answered, as the script sees it: a Fault instead of the world's own errors.
export const ask = (what, call) => {
  onDevice(what);
  try {
    return call();
  } catch (error) {
    const reason = error instanceof Error_ && error.payload !== undefined ? error.payload : error;
    if (reason instanceof Error_ && reason.tag === undefined) throw error;
    throw fault(what, reason);
  }
};

// A bus says more than a fault can: `timed-out`, `no-acknowledge` and so on are faults of kind io with that `code`.
const fault = (what, reason) => {
  const { tag, val } = typeof reason === 'string' ? { tag: reason } : reason;
  if (tag === 'other') return fault(what, val);
  if (kind(tag)) return new Fault(tag, val === undefined || val === null ? `${what}: ${tag}` : val);
  const made = new Fault('io', `${what}: ${tag}${val ? ` (${val})` : ''}`);
  made.code = tag;
  return made;
};

// Where an exception happened, in the author's files and lines.
export const trace = (error) => {
  const lines = error && typeof error.stack === 'string' ? error.stack.split('\n') : [];
  return lines
    .map((line) => line.trim())
    .filter((line) => line && !line.includes('__iottly') && !line.includes('(native)'))
    .map((line) => line.replace(/\(?\/([^()\s]+?):(\d+)(:\d+)?\)?$/, (_, file, row, column) => `(${place(file, +row)}${column || ''})`));
};

const place = (file, row) => {
  if (file !== 'main.js') return `${file}:${row}`;
  const section = sections.filter(([, first]) => first <= row).pop();
  return section ? `${section[0]}:${row - section[1] + 1}` : `${file}:${row}`;
};

// What a value looks like in a log line. Values that cannot be shown are no reason to stop.
const text = (value) => {
  if (typeof value === 'string') return value;
  try {
    if (value instanceof Error_) return [String_(value), ...trace(value)].join('\n  ');
    if (typeof value === 'object' && value !== null) {
      try { return stringify(value) ?? String_(value); } catch { return String_(value); }
    }
    return String_(value);
  } catch { return `[${typeof value}]`; }
};

const at = (level) => (...values) => {
  let line = '';
  for (let i = 0; i < values.length; i++) line += i ? ` ${text(values[i])}` : text(values[i]);
  line = clean(line);
  if (started) write(level, line);
  else if (early.length < MAX_EARLY) early.push([level, line]);
};

const log = at('info');
Object.assign(log, { trace: at('trace'), debug: at('debug'), info: log, warn: at('warn'), error: at('error') });
globalThis.log = log;
globalThis.console = { trace: log.trace, debug: log.debug, log, info: log, warn: log.warn, error: log.error };
globalThis.Fault = Fault;

// send_msg(payload), send_msg(payload, 'channel'), send_msg(payload, { channel, durable })
export const sendMessage = (payload, options) => {
  onDevice('send_msg');
  if (typeof payload !== 'object' || payload === null || isArray(payload)) {
    throw new TypeError_(`send_msg takes an object, not ${isArray(payload) ? 'an array' : payload === null ? 'null' : typeof payload}`);
  }
  const { channel, durable } = typeof options === 'string' ? { channel: options } : options || {};
  if (channel !== undefined && channel !== null && typeof channel !== 'string') {
    throw new TypeError_(`send_msg takes a text as the channel, not ${typeof channel}`);
  }
  const named = channel === undefined || channel === null ? undefined : clean(channel);
  const json = stringify(payload);
  if (typeof json !== 'string') throw new TypeError_('send_msg takes an object that JSON can hold');
  ask('send_msg', () => send(json, named, durable ? 'durable' : 'buffered'));
};
globalThis.send_msg = sendMessage;

// Handlers of commands whose names no function can have: commands["set-target"] = function (command) { … }
export const handlers = Object.create(null);
globalThis.commands = handlers;

const RealDate = Date;
globalThis.Date = class Date extends RealDate {
  constructor(...args) {
    if (args.length) super(...args);
    else super(Date.now());
  }
  static now() {
    onDevice('the current time');
    return Number(nowMs());
  }
};
globalThis.performance = { now: () => { onDevice('performance.now'); return Number(monotonicNs()) / 1e6; } };

// The engine's own generator lies in the snapshot: it would give every device the same numbers. This is sfc32.
let a = 0, b = 0, c = 0, d = 1;
const next = () => {
  const sum = (a + b + d) | 0;
  d = (d + 1) | 0;
  a = b ^ (b >>> 9);
  b = (c + (c << 3)) | 0;
  c = (((c << 21) | (c >>> 11)) + sum) | 0;
  return sum >>> 0;
};
Math.random = () => {
  onDevice('Math.random');
  return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
};

// The first thing that happens on a device.
export const start = () => {
  const [low, high] = [Number(seed()), Number(seed())];
  [a, b, c, d] = [low | 0, (low / 4294967296) | 0, high % 4294967296 | 0, 1];
  a ^= low % 4294967296 | 0;
  for (let i = 0; i < 12; i++) next();
  started = true;
  for (let i = 0; i < early.length; i++) write(early[i][0], early[i][1]);
  early.length = 0;
};

export { Fault };
