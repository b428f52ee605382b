# csv_split(LINE, FIELDS): the fields of a line of Gemmark's CSV, from 1; returns how many. No field of it has a line
# end inside.
function csv_split(line, fields,    n, i, c, text, quoted, length_of) {
  n = 0
  i = 1
  length_of = length(line)
  while (i <= length_of + 1) {
    text = ""
    quoted = 0
    if (substr(line, i, 1) == "\"") {
      quoted = 1
      i++
    }
    for (; i <= length_of; i++) {
      c = substr(line, i, 1)
      if (quoted && c == "\"") {
        if (substr(line, i + 1, 1) != "\"")
          break
        i++
      } else if (!quoted && c == ",")
        break
      text = text c
    }
    i += quoted
    fields[++n] = text
    i++
  }
  return n
}
# csv_header(LINE, COLUMNS): the place of each column's name.
function csv_header(line, columns,    names, n, i) {
  n = csv_split(line, names)
  for (i = 1; i <= n; i++)
    columns[names[i]] = i
}
