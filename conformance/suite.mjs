// Runs the conformance suite at the address in CONFORMANCE_URL. Whoever knows that address acts with the user's token,
// so it is in the environment, which others on this machine cannot read, and not among the arguments, which they can.
const [suite] = process.argv.splice(2, 1);
process.argv.push("--url", process.env.CONFORMANCE_URL);
await import(suite);
