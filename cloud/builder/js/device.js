// What belongs to the device as a whole: state that outlives restarts, settings from the cloud, names.
import * as store from 'iottly:firmware/state@0.1.0';
import * as settings from 'iottly:firmware/config@0.1.0';
import * as names from 'iottly:firmware/identity@0.1.0';
import { ask, clean, parse as read, stringify } from './prelude.js';

// Texts as bytes in UTF-8: what is stored is JSON.
const { encodeURIComponent, decodeURIComponent, escape, unescape } = globalThis;
const bytesOf = Uint8Array.from.bind(Uint8Array);
export const encode = (text) => bytesOf(unescape(encodeURIComponent(text)), (c) => c.charCodeAt(0));
export const decode = (bytes) => {
  let text = '';
  for (const byte of bytes) text += String.fromCharCode(byte);
  return decodeURIComponent(escape(text));
};
const parse = (text) => (text === undefined || text === null ? undefined : read(text));

globalThis.state = {
  get(key, otherwise) {
    const bytes = ask('state.get', () => store.get(clean(key)));
    return bytes === undefined || bytes === null ? otherwise : parse(decode(bytes));
  },
  set(key, value) {
    const text = stringify(value);
    if (typeof text !== 'string') throw new TypeError(`state.set cannot keep ${typeof value}`);
    ask('state.set', () => store.set(clean(key), encode(text)));
  },
  delete(key) { ask('state.delete', () => store.delete(clean(key))); },
  keys(prefix = '') { return ask('state.keys', () => store.keys(clean(prefix))); },
};

globalThis.config = {
  get(key, otherwise) {
    const value = parse(ask('config.get', () => settings.get(clean(key))));
    return value === undefined ? otherwise : value;
  },
  get version() {
    const version = ask('config.version', () => settings.version());
    return version === null || version === undefined ? undefined : Number(version);
  },
};

globalThis.identity = {
  get device() { return ask('identity.device', () => names.device()); },
  get firmware() { return ask('identity.firmware', () => names.firmware()); },
  get board() { return ask('identity.board', () => names.board()); },
};
