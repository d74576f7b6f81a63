#!/usr/bin/env node
import { register as ablate } from "./ablate.js";
import { register as bench } from "./bench.js";
import { register as convert } from "./convert.js";
import { register as demo } from "./demo.js";
import { register as doctor } from "./doctor.js";
import { register as evaluate } from "./evaluate.js";
import { register as explain } from "./explain.js";
import { register as extract } from "./extract.js";
import { register as prior } from "./prior.js";
import { main } from "./shell.js";
import { register as synth } from "./synth.js";
import { register as train } from "./train.js";
import { register as tune } from "./tune.js";
import { register as verify } from "./verify.js";

/** In the order in which `mpn --help` lists them. */
const commands = [demo, doctor, synth, prior, train, ablate, extract, evaluate, explain, verify, convert, bench, tune];

process.exitCode = await main(process.argv, commands);
