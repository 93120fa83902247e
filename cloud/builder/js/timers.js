// setTimeout and friends, and the way of every event to the function that asked for it.
import { start, cancel } from 'iottly:firmware/timers@0.1.0';
import { ask, max, min, round, whole } from './prelude.js';

const listeners = new Map();

// `owner` is what the event comes from: while somebody listens it must not be collected, which would close it.
export const listen = (source, f, owner) => { listeners.set(source, { f, owner }); return source; };
export const forget = (source) => listeners.delete(source);
// Milliseconds since the firmware started, as performance.now() counts them.
export const dispatch = (source, at) => {
  const listener = listeners.get(source);
  if (listener) listener.f(at);
};

const timer = (what, repeat) => (f, delay = 0, ...args) => {
  if (typeof f !== 'function') throw new TypeError(`${what} takes a function, not ${typeof f}`);
  const ms = whole(what, min(max(round(+delay || 0), repeat ? 1 : 0), 4294967295));
  const source = ask(what, () => start(ms, repeat));
  return listen(source, () => {
    if (!repeat) forget(source);
    f(...args);
  });
};

const clear = (source) => {
  if (typeof source !== 'number' || !forget(source)) return;
  ask('clearTimeout', () => cancel(source));
};

globalThis.setTimeout = timer('setTimeout', false);
globalThis.setInterval = timer('setInterval', true);
globalThis.clearTimeout = clear;
globalThis.clearInterval = clear;
