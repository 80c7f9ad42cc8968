/** Units know both languages from the start. */

import { loadWords } from "../../src/i18n";

await loadWords("en");
