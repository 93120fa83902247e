// setTimeout and friends, and the way of every event to the function that asked for it.
import { start, cancel } from 'iottly:firmware/timers@0.1.0';
import { apply, enter, lookUp, Map, max, min, push, remove, round, TypeError } from './language.js';
import { ask, whole } from './prelude.js';

const listeners = new Map();

// `owner` is what the event comes from: while a function listens it must not be collected, which would close it.
export const listen = (source, f, owner) => { enter(listeners, source, { f, owner }); return source; };
export const forget = (source) => remove(listeners, source);
// `at`: milliseconds since the firmware started, as performance.now() counts them.
export const dispatch = (source, at) => {
  const listener = lookUp(listeners, source);
  if (listener) apply(listener.f, undefined, [at]);
};

const timer = (what, repeat) => function (f, delay = 0) {
  if (typeof f !== 'function') throw new TypeError(what + ' takes a function, not ' + (typeof f));
  const ms = whole(what, min(max(round(+delay || 0), repeat ? 1 : 0), 4294967295));
  const values = [];
  for (let i = 2; i < arguments.length; i++) push(values, arguments[i]);
  const source = ask(what, () => start(ms, repeat));
  return listen(source, () => {
    if (!repeat) forget(source);
    apply(f, undefined, values);
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
