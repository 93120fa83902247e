// Maps the world's exports onto the plain functions of a script: init, loop, shutdown, health and one function per command.
import { load, outOfMemory } from '__iottly/engine';
import { write } from 'iottly:firmware/log@0.1.0';
import {
  apply, codeAt, cut, Error as Error_, hasOwn, isError, matches, max, min, parse, RegExp, round, String as String_, stringify,
  TypeError,
} from './language.js';
import { clean, Fault, handlers, kind, sendMessage, trace } from './prelude.js';
import { dispatch } from './timers.js';
import './device.js';
import './board.js';
import { pristine } from './pristine.js';

const SECOND = 1000;
const DAY = 86400000;

// An identifier of English letters, as almost all names are.
const isPlain = (name) => {
  for (let i = 0; i < name.length; i++) {
    const unit = codeAt(name, i);
    const isLetter = (unit >= 97 && unit <= 122) || (unit >= 65 && unit <= 90) || unit === 95 || unit === 36;
    if (!isLetter && (i === 0 || unit < 48 || unit > 57)) return false;
  }
  return name.length > 0;
};

// An identifier in any script; a word of the language is one too, and cannot be evaluated or is not a function. The
// tables of letters are a tenth of the engine's start, so they are made when a name first needs them.
let letters;
const isIdentifier = (name) => {
  if (cut(name, 0, 8) === '__iottly') return false;
  if (isPlain(name)) return true;
  letters ??= new RegExp('^[\\p{L}_$][\\p{L}\\p{N}_$]*$', 'u');
  return matches(letters, name) !== null;
};

// Evaluates a name in the script; it has no functions before its top level has run.
let look = () => undefined;

// What the platform calls itself is not a command.
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
  if (!isIdentifier(name)) return undefined;
  let found;
  try { found = look(name); } catch { return undefined; }
  return typeof found === 'function' && found !== globalThis[name] ? found : undefined;
};

// The script's function that the platform calls; undefined when it has none.
const own = (name) => {
  let found;
  try { found = look(name); } catch { return undefined; }
  return typeof found === 'function' ? found : undefined;
};

const call = (name, f, value) => {
  const result = apply(f, undefined, [value]);
  if (result && typeof result.then === 'function') throw new TypeError(name + ' is async: firmware functions return when they are done');
  return result;
};

// What was thrown, as a fault of the device; the log gets it with its place.
const told = (error) => {
  // The engine throws null where it has no memory for an error.
  const lost = outOfMemory();
  if (error === null && lost) error = new Error_('out of memory');
  let where = [];
  try { where = trace(error); } catch { /* the place is lost, what was thrown is not */ }
  const isFault = error instanceof Fault && kind(error.tag) !== undefined;
  const message = isError(error) ? String_(error) : 'Error: ' + shown(error);
  const place = where.length ? ' ' + where[0] : '';
  const tag = isFault ? kind(error.tag) : 'failed';
  const val = clean(isFault ? error.message : message + place);
  let line = message;
  for (let i = 0; i < where.length; i++) line += '\n  ' + where[i];
  if (tag !== 'unsupported' || where.length) write('error', clean(line));
  return tag === 'busy' ? { tag } : { tag: kind(tag) || 'failed', val };
};

const shown = (value) => {
  if (typeof value !== 'object') return String_(value);
  try { return stringify(value) ?? 'an object'; } catch { return 'an object that JSON cannot hold'; }
};

// An exception becomes a log line with its place and a fault; nothing is swallowed, and nothing that a script throws ends the firmware.
const guard = (f) => (a, b) => {
  try { return f(a, b); } catch (error) {
    let fault;
    try { fault = told(error); } catch { fault = { tag: 'failed', val: 'an exception that cannot be shown' }; }
    throw fault;
  }
};

let loop, health, shutdown;

export const app = {
  init: guard(() => {
    look = load().__iottly_find;
    loop = own('loop');
    health = own('health');
    shutdown = own('shutdown');
    const init = own('init');
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
    const wait = loop ? call('loop', loop, now) : DAY;
    return typeof wait === 'number' && wait >= 0 ? min(max(1, round(wait)), DAY) : SECOND;
  }),
  event: guard((source, at) => dispatch(source, at / 1e6)),
  health: guard(() => {
    const problem = health ? call('health', health) : undefined;
    if (typeof problem === 'string') throw new Fault('failed', problem);
  }),
  shutdown: guard((reason) => {
    if (shutdown) call('shutdown', shutdown, reason);
  }),
};

// A promise was rejected and nothing handles it.
export const report = (reason) => {
  let line = 'an exception that cannot be shown';
  try {
    line = isError(reason) ? String_(reason) : 'Error: ' + shown(reason);
    const where = trace(reason);
    for (let i = 0; i < where.length; i++) line += '\n  ' + where[i];
  } catch { /* what could be shown is shown */ }
  write('error', clean('unhandled rejection: ' + line));
};

const unhandled = (name) => {
  const fault = new Fault('unsupported', 'no handler for "' + name + '"');
  fault.stack = '';
  return fault;
};
