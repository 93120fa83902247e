// spi.open(label): a device. Bytes are arrays of numbers or Uint8Array.
import { open } from 'iottly:firmware/spi@0.1.0';
import { dispose } from './language.js';
import { ask, bytes, clean, whole } from './prelude.js';

class Device {
  #device; #name;
  constructor(label) {
    this.#name = 'spi ' + clean(label);
    this.#device = ask(this.#name, () => open(clean(label)));
  }
  #run(operations) { return ask(this.#name, () => this.#device.transaction(operations)); }
  transfer(data) { return this.#run([{ tag: 'transfer', val: bytes(data) }])[0]; }
  write(data) { this.#run([{ tag: 'write', val: bytes(data) }]); }
  read(count) { return this.#run([{ tag: 'read', val: whole(this.#name, count) }])[0]; }
  writeRead(data, count) { return this.#run([{ tag: 'write', val: bytes(data) }, { tag: 'read', val: whole(this.#name, count) }])[0]; }
  close() { ask(this.#name, () => this.#device[dispose]()); }
}

globalThis.spi = { open: (label) => new Device(label) };
