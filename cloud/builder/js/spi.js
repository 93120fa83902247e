// spi.open(label): a device. Bytes are arrays of numbers or Uint8Array.
import { open } from 'iottly:firmware/spi@0.1.0';
import { ask } from './prelude.js';

class Device {
  #device; #name;
  constructor(label) {
    this.#name = `spi ${label}`;
    this.#device = ask(this.#name, () => open(String(label)));
  }
  #run(operations) { return ask(this.#name, () => this.#device.transaction(operations)); }
  transfer(bytes) { return this.#run([{ tag: 'transfer', val: Uint8Array.from(bytes) }])[0]; }
  write(bytes) { this.#run([{ tag: 'write', val: Uint8Array.from(bytes) }]); }
  read(count) { return this.#run([{ tag: 'read', val: count }])[0]; }
  writeRead(bytes, count) { return this.#run([{ tag: 'write', val: Uint8Array.from(bytes) }, { tag: 'read', val: count }])[0]; }
  close() { ask(this.#name, () => this.#device[Symbol.dispose]()); }
}

globalThis.spi = { open: (label) => new Device(label) };
