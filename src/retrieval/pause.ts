/**
 * To be awaited now and then in long work on the CPU: lets the process attend to what has come meanwhile, such as Ctrl-C or a
 * progress bar to be drawn.
 * @throws the signal's reason, once it is aborted
 */
export async function pause(signal?: AbortSignal): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
  signal?.throwIfAborted();
}
