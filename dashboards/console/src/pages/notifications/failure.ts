/** What a failed attempt said, in words. Pure. */

import type { Language } from "../../i18n";
import { notifyWords, type NotifyWord } from "./words";

const SIGNS: readonly [RegExp, NotifyWord][] = [
  [/refused/i, "why.refused_connection"],
  [/timed? ?out|deadline|no answer/i, "why.timeout"],
  [/dns|resolve|lookup|name or service/i, "why.dns"],
  [/certificate|tls|ssl|handshake/i, "why.tls"],
  [/\b(401|403)\b|credential|password|auth|sign(ature)? (is|not|does)/i, "why.auth"],
  [/\b429\b|thrott|too many|limit/i, "why.limit"],
  [/no subscriber|no recipient|nobody|unknown user|\b550\b/i, "why.none"],
];

/** The cause in words when it is a known one; nothing otherwise. The channel's own text is shown beside it. */
export function causeText(error: string, language: Language): string | null {
  const say = notifyWords(language);
  for (const [sign, word] of SIGNS) if (sign.test(error)) return say(word);
  const status = /\b([45]\d\d)\b/.exec(error)?.[1];
  return status === undefined ? null : say("why.status", { status });
}
