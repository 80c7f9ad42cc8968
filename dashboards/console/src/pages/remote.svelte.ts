/** Something that the hub was asked for: on its way, here, or refused. What was here stays while it is asked for again. */

import { asApiError, type ApiError } from "../api/client";

export class Remote<T> {
  value = $state.raw<T | null>(null);
  error = $state.raw<ApiError | null>(null);
  loading = $state(true);
  private asked = 0;

  constructor(private readonly ask: () => Promise<T>) {}

  /** Takes what the hub said in another answer; what was asked for before is older. */
  take(value: T): void {
    this.asked += 1;
    this.value = value;
    this.error = null;
    this.loading = false;
  }

  /** Asks (again); only the newest answer counts. */
  async read(): Promise<void> {
    const mine = ++this.asked;
    this.loading = true;
    try {
      const value = await this.ask();
      if (mine !== this.asked) return;
      this.value = value;
      this.error = null;
    } catch (error) {
      if (mine === this.asked) this.error = asApiError(error);
    } finally {
      if (mine === this.asked) this.loading = false;
    }
  }
}
