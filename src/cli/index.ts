#!/usr/bin/env node
import { register as prior } from "./prior.js";
import { main } from "./shell.js";
import { register as synth } from "./synth.js";
import { register as verify } from "./verify.js";

/** In the order in which `mpn --help` lists them. */
const commands = [synth, prior, verify];

process.exitCode = await main(process.argv, commands);
