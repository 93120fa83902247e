// pwm.open(label, hertz): an output. A duty is a share from 0 to 1.
import { open } from 'iottly:firmware/pwm@0.1.0';
import { dispose, max, min, round } from './language.js';
import { ask, clean, whole } from './prelude.js';

class Output {
  #output; #name;
  constructor(label, hertz) {
    this.#name = 'pwm ' + clean(label);
    const frequency = whole(this.#name, hertz);
    this.#output = ask(this.#name, () => open(clean(label), frequency));
  }
  duty(share) {
    const part = whole(this.#name, round(min(max(+share || 0, 0), 1) * 65535), 65535);
    ask(this.#name, () => this.#output.setDuty(part));
  }
  frequency(hertz) {
    const frequency = whole(this.#name, hertz);
    ask(this.#name, () => this.#output.setFrequency(frequency));
  }
  close() { ask(this.#name, () => this.#output[dispose]()); }
}

globalThis.pwm = { open: (label, hertz = 1000) => new Output(label, hertz) };
