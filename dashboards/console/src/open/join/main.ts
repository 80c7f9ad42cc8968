/**
 * Lets a wall screen in. With a code behind the `#` it asks once and trades the code for the wall's cookie; without one it
 * makes such a link for whoever is logged in. The press is asked for, because the page replaces who is logged in here.
 */

import "../../styles/tokens.css";
import "./join.css";
import { load } from "../../preferences";
import { joinWords } from "./words";

const TIMEOUT_MS = 10_000;
const language = load.language();
const t = joinWords(language);
const code = location.hash.slice(1);
// The code is not for the browser's history.
if (code !== "") history.replaceState(null, "", location.pathname + location.search);

function element<K extends keyof HTMLElementTagNameMap>(tag: K, text = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function post(path: string, body: unknown): Promise<Response> {
  return fetch(`/api/v1${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-townhub": "1" },
    credentials: "same-origin",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
}

const told = element("p");
told.setAttribute("role", "alert");

async function join(button: HTMLButtonElement): Promise<void> {
  button.disabled = true;
  told.textContent = "";
  try {
    const answer = await post("/wall-links/redeem", { code });
    if (answer.ok) return location.replace("/wall");
    told.textContent = answer.status === 404 ? t("join.gone") : t("failed");
    button.disabled = answer.status === 404;
  } catch {
    told.textContent = t("failed");
    button.disabled = false;
  }
}

async function make(name: string, button: HTMLButtonElement, done: HTMLElement): Promise<void> {
  told.textContent = "";
  // A second press makes no second link.
  button.disabled = true;
  try {
    const answer = await post("/wall-links", { name });
    if (answer.status === 401) {
      const link = element("a", t("make.login"));
      link.href = "/login";
      return told.replaceChildren(link);
    }
    const body = (await answer.json()) as { path?: string; detail?: string };
    if (body.path === undefined) {
      told.textContent = t("refused", { detail: body.detail ?? String(answer.status) });
      return;
    }
    done.replaceChildren(element("p", t("make.done")), element("code", location.origin + body.path));
  } catch {
    told.textContent = t("failed");
  } finally {
    button.disabled = false;
  }
}

function build(root: HTMLElement): void {
  const kind = code === "" ? "make" : "join";
  root.append(element("h1", t(`${kind}.title`)), element("p", t(`${kind}.lead`)));
  document.title = t(`${kind}.title`);
  if (kind === "join") {
    const button = element("button", t("join.do"));
    button.addEventListener("click", () => void join(button));
    root.append(button, told);
    return;
  }
  const form = element("form");
  const label = element("label", t("make.name"));
  const field = element("input");
  field.required = true;
  field.maxLength = 80;
  field.placeholder = t("make.name.example");
  label.append(field);
  const button = element("button", t("make.do"));
  const done = element("div");
  done.setAttribute("role", "status");
  form.append(label, button);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void make(field.value, button, done);
  });
  root.append(form, told, done);
}

const media = matchMedia("(prefers-color-scheme: dark)");
const asked = load.theme();
const dark = asked === "auto" ? media.matches : asked === "dark";
document.documentElement.dataset.theme = dark ? "dark" : "light";
document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
const root = document.getElementById("page");
if (root === null) throw new Error("join.html has no #page");
build(root);
