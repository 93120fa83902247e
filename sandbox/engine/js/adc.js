// adc.open(label): an analog input, read in volts.
import { open } from 'iottly:firmware/adc@0.1.0';
import { dispose } from './language.js';
import { ask, clean } from './prelude.js';

class Input {
  #input; #name;
  constructor(label) {
    this.#name = 'adc ' + clean(label);
    this.#input = ask(this.#name, () => open(clean(label)));
  }
  read() { return ask(this.#name, () => this.#input.read()) / 1e6; }
  close() { ask(this.#name, () => this.#input[dispose]()); }
}

globalThis.adc = { open: (label) => new Input(label) };
