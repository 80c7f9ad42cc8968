/** Gives the reader a file that was made in the page. */
export function download(name: string, text: string, type = "text/csv;charset=utf-8"): void {
  // Spreadsheets take a table without the mark for one in the old national encoding.
  const mark = type.startsWith("text/csv") && /[^\0-\x7f]/.test(text) ? "\uFEFF" : "";
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([mark + text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** A table as RFC 4180 has it. Values stay as they are: what is downloaded here is mended and imported again. */
export function csvText(rows: readonly (readonly (string | number)[])[]): string {
  const field = (value: string | number): string => {
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");
}
