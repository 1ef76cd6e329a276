# The worker of bench/worker.py, for R: one request a line (exec, time, get), one answer a line.
suppressMessages({library(lme4); library(lmerTest); library(pbkrtest)})

as_json <- function(value) {
  numbers <- ifelse(is.finite(value), formatC(as.numeric(value), digits = 17, format = "g"), "null")
  paste0("[", paste(numbers, collapse = ", "), "]")
}

answer <- function(verb, code) {
  if (verb == "exec") {
    eval(code, globalenv())
    return("ok")
  }
  if (verb == "get") return(as_json(eval(code, globalenv())))
  assign("result", NULL, globalenv())
  invisible(gc())
  start <- proc.time()[["elapsed"]]
  assign("result", eval(code, globalenv()), globalenv())
  format(proc.time()[["elapsed"]] - start, digits = 10)
}

requests <- file("stdin", "r")
while (length(line <- readLines(requests, 1)) > 0) {
  verb <- sub(" .*", "", line)
  code <- sub("^[a-z]+ ", "", line)
  said <- tryCatch(suppressWarnings(answer(verb, parse(text = code))),
                   error = function(e) gsub("\n", " ", paste("error", conditionMessage(e))))
  cat(said, "\n", sep = "")
  flush(stdout())
}
