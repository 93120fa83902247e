// Maps the world's exports onto the plain functions of a script: init, loop, shutdown, health and one function per command.
import { bound, clean, Fault, handlers, kind, max, min, parse, round, sendMessage, start, stringify, trace } from './prelude.js';
import './board.js';
import { dispatch } from './timers.js';
import { pristine } from './pristine.js';
import { write } from 'iottly:firmware/log@0.1.0';
import { __iottly_find } from '../main.js';

const SECOND = 1000;
const DAY = 86400000;

const String_ = String;
const Number_ = Number;
const Error_ = Error;
const matches = bound(RegExp.prototype.exec);
const hasOwn = bound(Object.prototype.hasOwnProperty);
// An identifier in any script; a word of the language is one too, and cannot be evaluated or is no function.
const IDENTIFIER = /^(?!__iottly)[\p{L}_$][\p{L}\p{N}_$]*$/u;

// What the platform calls itself is no command.
const reserved = (name) => {
  switch (name) {
    case 'init': case 'loop': case 'shutdown': case 'health': case 'event': return true;
    default: return false;
  }
};

// The script's own function of that name, wherever it put it; what the platform provides does not count.
const find = (name) => {
  if (typeof handlers[name] === 'function') return handlers[name];
  if (hasOwn(globalThis, name) && typeof globalThis[name] === 'function' && globalThis[name] !== pristine[name]) return globalThis[name];
  if (matches(IDENTIFIER, name) === null) return undefined;
  let found;
  try { found = __iottly_find(name); } catch { return undefined; }
  return typeof found === 'function' && found !== globalThis[name] ? found : undefined;
};

const call = (name, f, ...args) => {
  const result = f(...args);
  if (result && typeof result.then === 'function') throw new TypeError(`${name} is async: firmware functions return when they are done`);
  return result;
};

// What was thrown, as a fault of the device; the log gets it with its place.
const told = (error) => {
  let where = [];
  try { where = trace(error); } catch { /* the place is lost, what was thrown is not */ }
  const isFault = error instanceof Fault && kind(error.tag) !== undefined;
  const message = error instanceof Error_ ? String_(error) : `Error: ${shown(error)}`;
  const place = where.length ? ` ${where[0]}` : '';
  const tag = isFault ? kind(error.tag) : 'failed';
  const val = clean(isFault ? error.message : message + place);
  let line = message;
  for (let i = 0; i < where.length; i++) line += `\n  ${where[i]}`;
  if (tag !== 'unsupported' || where.length) write('error', clean(line));
  return tag === 'busy' ? { tag } : { tag: kind(tag) || 'failed', val };
};

const shown = (value) => {
  if (typeof value !== 'object') return String_(value);
  try { return stringify(value) ?? 'an object'; } catch { return 'an object that JSON cannot hold'; }
};

// An exception becomes a log line with its place and a fault; nothing is swallowed, and nothing that a script throws ends the firmware.
const guard = (f) => (...args) => {
  try { return f(...args); } catch (error) {
    let fault;
    try { fault = told(error); } catch { fault = { tag: 'failed', val: 'an exception that cannot be shown' }; }
    throw fault;
  }
};

const own = (name) => {
  let found;
  try { found = __iottly_find(name); } catch { return undefined; }
  return typeof found === 'function' ? found : undefined;
};
const init = own('init');
const loop = own('loop');
const shutdown = own('shutdown');
const health = own('health');

export const app = {
  init: guard(() => {
    start();
    if (init) call('init', init);
  }),
  handle: guard(({ name, values }) => {
    const command = { [name]: parse(values) };
    const handler = reserved(name) ? undefined : find(name);
    if (handler) call(name, handler, command);
    else if (name === 'echo') sendMessage({ ECHO: command });
    else throw unhandled(name);
  }),
  tick: guard((now) => {
    const wait = loop ? call('loop', loop, Number_(now)) : DAY;
    return typeof wait === 'number' && wait >= 0 ? min(max(1, round(wait)), DAY) : SECOND;
  }),
  event: guard((source, at) => dispatch(source, Number_(at) / 1e6)),
  health: guard(() => {
    const problem = health ? call('health', health) : undefined;
    if (typeof problem === 'string') throw new Fault('failed', problem);
  }),
  shutdown: guard((reason) => {
    if (shutdown) call('shutdown', shutdown, reason);
  }),
};

const unhandled = (name) => {
  const fault = new Fault('unsupported', `no handler for "${name}"`);
  fault.stack = '';
  return fault;
};
