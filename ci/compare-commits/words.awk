# The words of an option file, one a line, as gemmark cuts them: between blanks, with quotes of either kind, and
# comments from a word's # on. Exit code 1 where a quote is not closed on its line.
function is_blank(c) { return c == " " || c == "\t" || c == "\r" || c == "\f" || c == "\v" }
NR == 1 { sub(/^\357\273\277/, "") }
{
  n = length($0)
  i = 1
  while (i <= n) {
    if (is_blank(substr($0, i, 1))) {
      i++
      continue
    }
    if (substr($0, i, 1) == "#")
      break
    word = quote = ""
    for (; i <= n; i++) {
      c = substr($0, i, 1)
      if (quote == "" && is_blank(c))
        break
      following = substr($0, i + 1, 1)
      if (quote == "\"" && c == "\\" && (following == "\"" || following == "\\")) {
        word = word following
        i++
      } else if (quote != "" && c == quote)
        quote = ""
      else if (quote == "" && (c == "\"" || c == "'"))
        quote = c
      else
        word = word c
    }
    if (quote != "") {
      print "line " NR ": a quote is not closed" > "/dev/stderr"
      failed = 1
      exit 1
    }
    print word
  }
}
END { if (!failed) print "." } # so that an empty last word is not lost in $(...)
