// The language's own functions as they are before any script runs: a script may replace them, and what it says to the
// device must not depend on that. So the prelude calls no method of an array or a text directly, and iterates nothing:
// `for (… of …)`, spread, patterns for arrays and template literals look up what a script can replace.
const { apply, defineProperty, ownKeys } = Reflect;
const { bind, call } = Function.prototype;
export const bound = apply(bind, bind, [call]);

export { apply, defineProperty, ownKeys };
export const { stringify, parse } = JSON;
export const { floor, max, min, round } = Math;
export const { isArray } = Array;
export const { create } = Object;
export const { dispose } = Symbol;
export const hasOwn = bound(Object.prototype.hasOwnProperty);
export const cut = bound(String.prototype.slice);
export const wellFormed = bound(String.prototype.toWellFormed);
export const codeAt = bound(String.prototype.charCodeAt);
export const matches = bound(RegExp.prototype.exec);
export const { fromCharCode } = String;
export const { encodeURIComponent, decodeURIComponent, escape, unescape } = globalThis;
export const isError = Error.isError ?? ((value) => value instanceof Error);

// The named ones keep their name where the global one may be replaced.
const S = String, N = Number, E = Error, T = TypeError, B = Uint8Array, M = Map, R = RegExp;
export { S as String, N as Number, E as Error, T as TypeError, B as Uint8Array, M as Map, R as RegExp };
// The length of a typed array.
export const sizeOf = bound(Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length').get);
export const lookUp = bound(Map.prototype.get);
export const enter = bound(Map.prototype.set);
export const remove = bound(Map.prototype.delete);

// Adds to the end of a list of ours.
export const push = (list, value) => {
  defineProperty(list, list.length, { __proto__: null, value, writable: true, enumerable: true, configurable: true });
};

// A list as one of ours, with `change` applied to each element.
export const mapped = (list, change) => {
  const result = [];
  const { length } = list;
  for (let i = 0; i < length; i++) push(result, change(list[i]));
  return result;
};

// The parts of a text joined by `between`.
export const joined = (list, between) => {
  let text = '';
  for (let i = 0; i < list.length; i++) text += i ? between + list[i] : list[i];
  return text;
};
