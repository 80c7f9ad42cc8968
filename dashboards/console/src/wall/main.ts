import "../styles/tokens.css";
import "../styles/base.css";
import "./wall.css";
import { mount } from "svelte";
import { loadWords } from "../i18n";
import { load } from "../preferences";
import WallPage from "./WallPage.svelte";

const target = document.getElementById("app");
if (target === null) throw new Error("wall.html has no #app");
// A page in the wrong language is better than none.
await loadWords(load.language()).catch(() => undefined);
mount(WallPage, { target });
