// The globals as a script finds them: evaluated behind the prelude and before the script. What differs later is the script's own.
import { create, ownKeys } from './language.js';

export const pristine = create(null);
const names = ownKeys(globalThis);
for (let i = 0; i < names.length; i++) if (typeof names[i] === 'string') pristine[names[i]] = globalThis[names[i]];
