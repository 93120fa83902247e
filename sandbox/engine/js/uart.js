// uart.open(label, { baud, parity, stopBits }): a serial port.
import { open } from 'iottly:firmware/uart@0.1.0';
import { dispose, sizeOf } from './language.js';
import { ask, bytes as bytesOf, clean, whole, word } from './prelude.js';
import { encode } from './device.js';
import { listen } from './timers.js';

const CHUNK = 1024;

class Port {
  #port; #name;
  constructor(label, { baud = 9600, parity = 'none', stopBits = 1 } = {}) {
    this.#name = 'uart ' + clean(label);
    const settings = { baud: whole(this.#name, baud), parity: word(this.#name, parity, ['none', 'even', 'odd']), stopBits: whole(this.#name, stopBits, 255) };
    this.#port = ask(this.#name, () => open(clean(label), settings));
  }
  write(data) {
    const bytes = typeof data === 'string' ? encode(clean(data)) : bytesOf(data);
    ask(this.#name, () => this.#port.write(bytes));
  }
  read(max = CHUNK) {
    const most = whole(this.#name, max);
    return ask(this.#name, () => this.#port.read(most));
  }
  // Calls f with the bytes that have arrived.
  onData(f) {
    listen(ask(this.#name, () => this.#port.watch()), () => {
      const bytes = this.read();
      if (sizeOf(bytes) > 0) f(bytes);
    }, this);
  }
  close() { ask(this.#name, () => this.#port[dispose]()); }
}

globalThis.uart = { open: (label, settings) => new Port(label, settings) };
