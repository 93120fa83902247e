// The names that every script finds without importing them: log, send_msg, commands, Fault.
import { write } from 'iottly:firmware/log@0.1.0';
import { monotonicNs } from 'iottly:firmware/clock@0.1.0';
import { send } from 'iottly:firmware/telemetry@0.1.0';
import { places } from '__iottly/engine';
import {
  create, cut, defineProperty, Error as Error_, floor, isArray, isError, joined, mapped, Number as Number_, parse, push, String as String_,
  stringify, TypeError as TypeError_, Uint8Array as Uint8Array_, wellFormed,
} from './language.js';

// Most characters of a text that is not a payload: the device takes fewer of each.
const MAX_TEXT = 8192;

// A text as the device takes it: no halves of characters, whatever it was made of. Payloads are mended by the device itself.
export const clean = (value) => wellFormed(cut(typeof value === 'string' ? value : String_(value), 0, MAX_TEXT));

// A whole number as the device takes it.
export const whole = (what, value, most = 4294967295) => {
  const number = typeof value === 'number' ? value : undefined;
  if (number !== undefined && floor(number) === number && number >= 0 && number <= most) return number;
  throw new Fault('invalid', what + ': ' + clean(value) + ' is not a whole number from 0 to ' + most);
};

// One of the words that the device knows.
export const word = (what, value, words) => {
  for (let i = 0; i < words.length; i++) if (words[i] === value) return words[i];
  throw new Fault('invalid', what + ': ' + clean(value) + ' is not one of ' + joined(words, ', '));
};

// Bytes as the device takes them, copied out of whatever the script has.
const byteArray = Uint8Array_.from;
const { apply } = Reflect;
const isView = ArrayBuffer.isView;
export const bytes = (value) => {
  if (isView(value) || isArray(value)) {
    const { length } = value;
    const copy = new Uint8Array_(length);
    for (let i = 0; i < length; i++) copy[i] = value[i];
    return copy;
  }
  return apply(byteArray, Uint8Array_, [value]);
};

// A reason the platform knows. `tag` is one of invalid, unsupported, denied, busy, limit, io, failed.
class Fault extends Error_ {
  name = 'Fault';
  tag;
  constructor(tag, message) {
    super(message === undefined ? tag : message);
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

// What a call into the device returned, as the script sees it: a Fault instead of the world's own errors.
export const ask = (what, call) => {
  try {
    return call();
  } catch (error) {
    if (error === null || isError(error)) throw error;
    throw fault(what, error);
  }
};

// A bus says more than a fault can: `timed-out`, `no-acknowledge` and so on are faults of kind io with that `code`.
const fault = (what, reason) => {
  const { tag, val } = typeof reason === 'string' ? { tag: reason, val: undefined } : reason;
  if (tag === 'other') return fault(what, val);
  if (kind(tag)) return new Fault(tag, val === undefined ? what + ': ' + tag : val);
  const made = new Fault('io', what + ': ' + tag + (val ? ' (' + val + ')' : ''));
  defineProperty(made, 'code', { __proto__: null, value: tag, writable: true, enumerable: true, configurable: true });
  return made;
};

// Where an exception happened, in the author's files and lines.
export const trace = (error) => {
  const stack = isError(error) ? error.stack : undefined;
  return typeof stack === 'string' ? places(stack) : [];
};

// What a value looks like in a log line. Values that cannot be shown are no reason to stop.
const text = (value) => {
  if (typeof value === 'string') return value;
  try {
    if (isError(value)) {
      const lines = [String_(value)];
      const where = trace(value);
      for (let i = 0; i < where.length; i++) push(lines, where[i]);
      return joined(lines, '\n  ');
    }
    if (typeof value === 'object' && value !== null) {
      try { return stringify(value) ?? String_(value); } catch { return String_(value); }
    }
    return String_(value);
  } catch { return '[' + (typeof value) + ']'; }
};

const at = (level) => function () {
  let line = '';
  for (let i = 0; i < arguments.length; i++) line += i ? ' ' + text(arguments[i]) : text(arguments[i]);
  write(level, clean(line));
};

const log = at('info');
log.trace = at('trace');
log.debug = at('debug');
log.info = log;
log.warn = at('warn');
log.error = at('error');
globalThis.log = log;
globalThis.console = { trace: log.trace, debug: log.debug, log, info: log, warn: log.warn, error: log.error };
globalThis.Fault = Fault;

// send_msg(payload), send_msg(payload, 'channel'), send_msg(payload, { channel, durable })
export const sendMessage = (payload, options) => {
  if (typeof payload !== 'object' || payload === null || isArray(payload)) {
    throw new TypeError_('send_msg takes an object, not ' + (isArray(payload) ? 'an array' : payload === null ? 'null' : typeof payload));
  }
  const { channel, durable } = typeof options === 'string' ? { channel: options, durable: false } : options || { channel: undefined, durable: false };
  if (channel !== undefined && channel !== null && typeof channel !== 'string') {
    throw new TypeError_('send_msg takes a text as the channel, not ' + (typeof channel));
  }
  const named = channel === undefined || channel === null ? undefined : clean(channel);
  const json = stringify(payload);
  if (typeof json !== 'string') throw new TypeError_('send_msg takes an object that JSON can hold');
  ask('send_msg', () => send(json, named, durable ? 'durable' : 'buffered'));
};
globalThis.send_msg = sendMessage;

// Handlers of commands whose names no function can have: commands["set-target"] = function (command) { … }
export const handlers = create(null);
globalThis.commands = handlers;

globalThis.performance = { now: () => monotonicNs() / 1e6 };

export { Fault };
