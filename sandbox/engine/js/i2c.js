// i2c.open(label): a bus. Bytes are arrays of numbers or Uint8Array.
import { open } from 'iottly:firmware/i2c@0.1.0';
import { dispose, mapped } from './language.js';
import { ask, bytes, clean, whole } from './prelude.js';

class Bus {
  #bus; #name;
  constructor(label) {
    this.#name = 'i2c ' + clean(label);
    this.#bus = ask(this.#name, () => open(clean(label)));
  }
  // Operations are numbers, that many bytes are read, or bytes, which are written. Returns the bytes of each read.
  transaction(address, operations) {
    const list = mapped(operations, (one) => (typeof one === 'number' ? { tag: 'read', val: whole(this.#name, one) } : { tag: 'write', val: bytes(one) }));
    const at = whole(this.#name, address, 65535);
    return ask(this.#name, () => this.#bus.transaction(at, list));
  }
  read(address, count) { return this.transaction(address, [count])[0]; }
  write(address, bytes) { this.transaction(address, [bytes]); }
  writeRead(address, bytes, count) { return this.transaction(address, [bytes, count])[0]; }
  close() { ask(this.#name, () => this.#bus[dispose]()); }
}

globalThis.i2c = { open: (label) => new Bus(label) };
