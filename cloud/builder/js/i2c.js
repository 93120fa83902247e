// i2c.open(label): a bus. Bytes are arrays of numbers or Uint8Array.
import { open } from 'iottly:firmware/i2c@0.1.0';
import { ask } from './prelude.js';

class Bus {
  #bus; #name;
  constructor(label) {
    this.#name = `i2c ${label}`;
    this.#bus = ask(this.#name, () => open(String(label)));
  }
  // Operations are numbers, that many bytes are read, or bytes, which are written. Answers the bytes of each read.
  transaction(address, operations) {
    const list = operations.map((one) => (typeof one === 'number' ? { tag: 'read', val: one } : { tag: 'write', val: Uint8Array.from(one) }));
    return ask(this.#name, () => this.#bus.transaction(address, list));
  }
  read(address, count) { return this.transaction(address, [count])[0]; }
  write(address, bytes) { this.transaction(address, [bytes]); }
  writeRead(address, bytes, count) { return this.transaction(address, [bytes, count])[0]; }
  close() { ask(this.#name, () => this.#bus[Symbol.dispose]()); }
}

globalThis.i2c = { open: (label) => new Bus(label) };
