/**
 * An error that the user can act on: bad input, a missing file, a wrong setting, an adapter too small.
 * The message says what was looked for, where, and what to do; the command line prints it without a stack
 * trace and exits with `exitCode` (1 failed, 2 wrong usage).
 */
export class UserError extends Error {
  override readonly name: string = "UserError";
  readonly exitCode: 1 | 2;

  constructor(message: string, options: { exitCode?: 1 | 2; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.exitCode = options.exitCode ?? 1;
  }
}

/** A loss, weight or feature is NaN or infinite: this run cannot go on, while another one with other settings may. */
export class NotFiniteError extends UserError {
  override readonly name = "NotFiniteError";
}
