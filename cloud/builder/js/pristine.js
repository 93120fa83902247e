// The globals as a script finds them: evaluated behind the prelude and before the script. What differs later is the script's own.
export const pristine = Object.create(null);
for (const name of Object.getOwnPropertyNames(globalThis)) pristine[name] = globalThis[name];
