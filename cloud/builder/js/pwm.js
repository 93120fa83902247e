// pwm.open(label, hertz): an output. A duty is a share from 0 to 1.
import { open } from 'iottly:firmware/pwm@0.1.0';
import { ask } from './prelude.js';

class Output {
  #output; #name;
  constructor(label, hertz) {
    this.#name = `pwm ${label}`;
    this.#output = ask(this.#name, () => open(String(label), hertz));
  }
  duty(share) { ask(this.#name, () => this.#output.setDuty(Math.round(Math.min(Math.max(Number(share) || 0, 0), 1) * 65535))); }
  frequency(hertz) { ask(this.#name, () => this.#output.setFrequency(hertz)); }
  close() { ask(this.#name, () => this.#output[Symbol.dispose]()); }
}

globalThis.pwm = { open: (label, hertz = 1000) => new Output(label, hertz) };
