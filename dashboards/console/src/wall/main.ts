import "../styles/tokens.css";
import "../styles/base.css";
import "./wall.css";
import { mount } from "svelte";
import WallPage from "./WallPage.svelte";

const target = document.getElementById("app");
if (target === null) throw new Error("wall.html has no #app");
mount(WallPage, { target });
