import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/rows.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { loadWords } from "./i18n";
import { load } from "./preferences";

const target = document.getElementById("app");
if (target === null) throw new Error("index.html has no #app");
// A page in the wrong language is better than none.
await loadWords(load.language()).catch(() => undefined);
mount(App, { target });
