// A stand-in for hardware that the manifest says nothing about.
import { Fault } from './prelude.js';

export const deny = (name) => {
  globalThis[name] = new Proxy({}, {
    __proto__: null,
    get() { throw new Fault('denied', name + ': firmware.toml names no label of it, see [capabilities]'); },
  });
};
