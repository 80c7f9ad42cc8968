/** Something that a page asks the hub to do: once at a time, and a refusal stays to be read until the next try. */

import { asApiError, type ApiError } from "../../api/client";

export class Deed {
  busy = $state(false);
  error = $state.raw<ApiError | null>(null);

  /** Whether it was done. A second call while the first is on its way does nothing. */
  async run(act: () => Promise<unknown>): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.error = null;
    try {
      await act();
      return true;
    } catch (error) {
      this.error = asApiError(error);
      return false;
    } finally {
      this.busy = false;
    }
  }

  forget(): void {
    this.error = null;
  }
}
