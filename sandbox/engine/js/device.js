// What belongs to the device as a whole: state that outlives restarts, settings from the cloud, names.
import * as store from 'iottly:firmware/state@0.1.0';
import * as settings from 'iottly:firmware/config@0.1.0';
import * as names from 'iottly:firmware/identity@0.1.0';
import {
  codeAt, decodeURIComponent, encodeURIComponent, escape, fromCharCode, parse as read, sizeOf, stringify, TypeError, Uint8Array, unescape,
} from './language.js';
import { ask, clean } from './prelude.js';

// Texts as bytes in UTF-8: what is stored is JSON.
export const encode = (text) => {
  const units = unescape(encodeURIComponent(text));
  const bytes = new Uint8Array(units.length);
  for (let i = 0; i < units.length; i++) bytes[i] = codeAt(units, i);
  return bytes;
};
export const decode = (bytes) => {
  let text = '';
  for (let i = 0; i < sizeOf(bytes); i++) text += fromCharCode(bytes[i]);
  return decodeURIComponent(escape(text));
};
const parse = (text) => (text === undefined ? undefined : read(text));

globalThis.state = {
  get(key, otherwise) {
    const bytes = ask('state.get', () => store.get(clean(key)));
    return bytes === undefined ? otherwise : parse(decode(bytes));
  },
  set(key, value) {
    const text = stringify(value);
    if (typeof text !== 'string') throw new TypeError('state.set cannot keep ' + (typeof value));
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
  get version() { return ask('config.version', () => settings.version()); },
};

globalThis.identity = {
  get device() { return ask('identity.device', () => names.device()); },
  get firmware() { return ask('identity.firmware', () => names.firmware()); },
  get board() { return ask('identity.board', () => names.board()); },
};
