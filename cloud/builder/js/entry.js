// Maps the world's exports onto the plain functions of a script: init, loop, shutdown, health and one function per command.
import { Fault, start, trace } from './prelude.js';
import './board.js';
import { dispatch } from './timers.js';
import { write } from 'iottly:firmware/log@0.1.0';
import { __iottly_find } from '../main.js';

const RESERVED = new Set(['init', 'loop', 'shutdown', 'health', 'event']);
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;
const FAULTS = new Set(['invalid', 'unsupported', 'denied', 'busy', 'limit', 'io', 'failed']);
const SECOND = 1000;
const DAY = 86400000;

// The script's own function of that name, wherever it got it from; what the platform provides does not count.
const find = (name) => {
  if (!IDENTIFIER.test(name) || name.startsWith('__iottly')) return undefined;
  let found;
  try { found = __iottly_find(name); } catch { return undefined; }
  return typeof found === 'function' && found !== globalThis[name] ? found : undefined;
};

const call = (name, f, ...args) => {
  const result = f(...args);
  if (result && typeof result.then === 'function') throw new TypeError(`${name} is async: firmware functions return when they are done`);
  return result;
};

// An exception becomes a log line with its place and a fault; nothing is swallowed.
const guard = (f) => (...args) => {
  try { return f(...args); } catch (error) {
    const where = trace(error);
    const message = error instanceof Error ? `${error}` : `Error: ${typeof error === 'object' ? JSON.stringify(error) : String(error)}`;
    const fault = error instanceof Fault && FAULTS.has(error.tag) ? { tag: error.tag, val: error.message } : { tag: 'failed', val: [message, ...where.slice(0, 1)].join(' ') };
    if (fault.tag === 'busy') delete fault.val;
    if (fault.tag !== 'unsupported' || where.length) write('error', [message, ...where].join('\n  '));
    throw fault;
  }
};

const init = find('init');
const loop = find('loop');
const shutdown = find('shutdown');
const health = find('health');

export const app = {
  init: guard(() => {
    start();
    if (init) call('init', init);
  }),
  handle: guard(({ name, values }) => {
    const command = { [name]: JSON.parse(values) };
    const handler = RESERVED.has(name) ? undefined : find(name);
    if (handler) call(name, handler, command);
    else if (name === 'echo') send_msg({ ECHO: command });
    else throw unhandled(name);
  }),
  tick: guard((now) => {
    const wait = loop ? call('loop', loop, Number(now)) : DAY;
    return typeof wait === 'number' && wait >= 0 ? Math.min(Math.max(1, Math.round(wait)), DAY) : SECOND;
  }),
  event: guard((source, at) => dispatch(source, Number(at) / 1e6)),
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
