/**
 * The public parking page. No framework: a list that is small enough to write by hand, for phones on a bad link.
 *
 * It asks the hub every quarter of a minute while somebody looks, says so when it gets no answer, and never shows an old
 * number as a new one.
 */

import "../../styles/tokens.css";
import "./parking.css";
import { monotonicMs, wallMs } from "../../clock";
import { load, save } from "../../preferences";
import { barShares, distanceM, freeText, inOrder, routes, type Board, type Lot } from "./lots";
import { say, timeText, wayText } from "./words";

const EVERY_MS = 15_000;
const TIMEOUT_MS = 10_000;
/** After so long without an answer the numbers are old. */
const STALE_MS = 60_000;
const TICK_MS = 1_000;

type Place = { is: "unasked" | "waiting" | "denied" } | { is: "known"; at: [number, number] };

const state = {
  language: load.language(),
  place: { is: "unasked" } as Place,
  board: null as Board | null,
  /** When the hub last answered, on our monotonic clock. */
  heardAtMs: null as number | null,
  openedAtMs: monotonicMs(),
  /** The hub's clock minus ours. */
  offsetMs: 0,
};

function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  className = "",
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.append(...children);
  return made;
}

function setText(node: HTMLElement, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

/** A lot's card: made once, filled in again and again, so that what is open or has the focus stays so. */
class Card {
  readonly root = element("li", "lot");
  private readonly name = element("h2");
  private readonly facts = element("p", "facts");
  private readonly age = element("p", "facts age");
  private readonly free = element("p", "free");
  private readonly mark = element("p", "mark");
  private readonly bar = element("div", "bar");
  private readonly taken = element("span", "taken");
  private readonly unknown = element("span", "unknown");
  private readonly closed = element("span", "closed");
  private readonly go = element("button", "go");
  private readonly links = element("div", "links");

  constructor() {
    this.bar.setAttribute("aria-hidden", "true");
    this.bar.append(this.taken, this.unknown, this.closed);
    const words = element("div", "words", this.name, this.facts, this.age);
    const number = element("div", "number", this.free, this.mark);
    this.links.hidden = true;
    this.links.id = `way-${cards.size}`;
    this.go.setAttribute("aria-controls", this.links.id);
    this.go.setAttribute("aria-expanded", "false");
    this.go.addEventListener("click", () => {
      this.links.hidden = !this.links.hidden;
      this.go.setAttribute("aria-expanded", String(!this.links.hidden));
    });
    this.root.append(words, number, this.bar, this.go, this.links);
  }

  show(lot: Lot, nowMs: number): void {
    const { language, place } = state;
    const t = say(language);
    this.root.dataset.lot = lot.id;
    this.root.dataset.occupation = lot.occupation;
    setText(this.name, lot.name[language]);
    const facts = [
      place.is === "known" ? wayText(distanceM(place.at, lot.position), language) : "",
      t("total", { count: lot.capacity }),
      lot.unknown > 0 && lot.occupation !== "unknown" ? t("unknown", { count: lot.unknown }) : "",
      lot.closed > 0 && lot.occupation !== "closed" ? t("closed_bays", { count: lot.closed }) : "",
    ];
    setText(this.facts, facts.filter(Boolean).join(" · "));
    const age = lot.observed_at === null ? "" : timeText(nowMs - Date.parse(lot.observed_at), language, "age");
    const arrow = { filling: "↗ ", steady: "→ ", emptying: "↘ " };
    const trend = lot.trend === null ? "" : arrow[lot.trend] + t(`trend.${lot.trend}`);
    setText(this.age, [trend, age === "" ? "" : t("observed", { age })].filter(Boolean).join(" · "));
    const { least, most } = lot.free;
    const known = lot.occupation !== "unknown" && lot.occupation !== "closed";
    setText(this.free, freeText(lot));
    this.free.setAttribute("role", "img");
    const count = least === most ? t("free.exact", { count: least }) : t("free.range", { least, most });
    this.free.setAttribute("aria-label", known ? count : t(`occupation.${lot.occupation}`));
    setText(this.mark, lot.occupation === "open" ? t("free") : t(`occupation.${lot.occupation}`));
    const shares = barShares(lot);
    this.taken.style.width = `${shares.taken}%`;
    this.unknown.style.width = `${shares.unknown}%`;
    this.closed.style.width = `${shares.closed}%`;
    setText(this.go, t("go"));
    this.go.setAttribute("aria-label", t("go.to", { lot: lot.name[language] }));
    const all = routes(lot, language);
    while (this.links.children.length < all.length) this.links.append(element("a"));
    all.forEach(({ word, href }, at) => {
      const link = this.links.children[at] as HTMLAnchorElement;
      link.href = href;
      link.rel = "noreferrer";
      setText(link, t(word));
    });
  }
}

const title = element("h1");
const languageButton = element("button", "quiet");
const nearButton = element("button");
const note = element("p", "note");
const banner = element("p", "banner");
const status = element("div", "status");
const list = element("ul", "lots");
const more = element("p", "note");
const footer = element("footer");
const cards = new Map<string, Card>();

function build(root: HTMLElement): void {
  status.setAttribute("role", "status");
  status.append(banner);
  root.append(element("header", "", title, languageButton), element("div", "tools", note, nearButton), status, list, more, footer);
  languageButton.addEventListener("click", () => {
    state.language = state.language === "zh" ? "en" : "zh";
    save.language(state.language);
    show();
  });
  nearButton.addEventListener("click", findPlace);
}

/** A browser gives its position to pages over https and on localhost only. */
const mayLocate = isSecureContext && "geolocation" in navigator;

function findPlace(): void {
  state.place = { is: "waiting" };
  show();
  navigator.geolocation.getCurrentPosition(
    ({ coords }) => {
      state.place = { is: "known", at: [coords.longitude, coords.latitude] };
      show();
    },
    () => {
      state.place = { is: "denied" };
      show();
    },
    { maximumAge: 60_000, timeout: TIMEOUT_MS },
  );
}

function show(): void {
  const { language, board, place, heardAtMs } = state;
  const t = say(language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  const name = board === null ? t("title") : t("title.town", { town: board.town[language] });
  document.title = name;
  setText(title, name);
  setText(languageButton, t("language"));
  languageButton.lang = language === "zh" ? "en" : "zh-CN";
  languageButton.title = t("language.detail");
  nearButton.hidden = !mayLocate || place.is === "known";
  nearButton.disabled = place.is === "waiting";
  setText(nearButton, t(place.is === "waiting" ? "near.waiting" : "near.ask"));
  setText(footer, t("footer"));

  const silentMs = monotonicMs() - (heardAtMs ?? state.openedAtMs);
  const stale = silentMs > STALE_MS;
  document.documentElement.classList.toggle("stale", stale && board !== null);
  const told = board === null ? t("never") : t("stale", { age: timeText(silentMs, language, "for") });
  banner.hidden = !stale && (board !== null || heardAtMs !== null || silentMs < TIMEOUT_MS);
  setText(banner, banner.hidden ? "" : told);
  const updated = board === null ? t("loading") : t("live", { age: timeText(silentMs, language, "age") });
  const near = place.is === "known" ? t("near.on") : place.is === "denied" ? t("near.denied") : "";
  setText(note, [stale || (board === null && !banner.hidden) ? "" : updated, near].filter(Boolean).join(" · "));

  const lots = board === null ? [] : inOrder(board.lots, place.is === "known" ? place.at : null, language);
  const nowMs = wallMs() + state.offsetMs;
  const wanted = lots.map((lot) => {
    const card = cards.get(lot.id) ?? new Card();
    cards.set(lot.id, card);
    card.show(lot, nowMs);
    return card.root;
  });
  // Moved only when the order changed: a moved element loses the focus.
  if (wanted.length !== list.children.length || wanted.some((root, at) => list.children[at] !== root)) {
    list.replaceChildren(...wanted);
  }
  const leftOut = board?.left_out ?? 0;
  setText(more, board !== null && lots.length === 0 ? t("none") : leftOut > 0 ? t("left_out", { count: leftOut }) : "");
}

async function ask(): Promise<void> {
  try {
    const answer = await fetch("/api/v1/parking", {
      headers: { accept: "application/json" },
      credentials: "omit",
      // Asks the hub each time, which answers 304 and nothing else while nothing changed.
      cache: "no-cache",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (!answer.ok) return;
    state.board = (await answer.json()) as Board;
    state.heardAtMs = monotonicMs();
    const hubMs = Date.parse(answer.headers.get("date") ?? "");
    if (!Number.isNaN(hubMs)) state.offsetMs = hubMs - wallMs();
  } catch {
    // The banner tells of it when it lasts.
  }
  show();
}

let timer: ReturnType<typeof setTimeout> | undefined;

/** Asks now, and then at its pace for as long as the page is seen. */
async function follow(): Promise<void> {
  clearTimeout(timer);
  if (document.hidden) return;
  await ask();
  clearTimeout(timer);
  timer = setTimeout(() => void follow(), EVERY_MS);
}

function followTheme(): void {
  const asked = load.theme();
  const media = matchMedia("(prefers-color-scheme: dark)");
  const apply = (): void => {
    const dark = asked === "auto" ? media.matches : asked === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  media.addEventListener("change", apply);
  apply();
}

const root = document.getElementById("page");
if (root === null) throw new Error("parking.html has no #page");
followTheme();
build(root);
show();
document.addEventListener("visibilitychange", () => void follow());
setInterval(show, TICK_MS);
void follow();
