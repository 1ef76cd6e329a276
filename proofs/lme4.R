# Each design's restricted log-likelihood by lme4, the better of two optimisers: Rscript lme4.R FOLDER
# FOLDER has cases.txt (formula, rows, columns' names; tab-separated) and cases.bin (doubles, column by column).
suppressMessages(library(lme4))
folder <- commandArgs(trailingOnly = TRUE)[1]
cases <- read.delim(file.path(folder, "cases.txt"), header = FALSE, col.names = c("formula", "rows", "names"))
numbers <- file(file.path(folder, "cases.bin"), "rb")
quiet <- list(check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore", check.nlev.gtr.1 = "ignore")

fitted_by <- function(optimizer, formula, frame) {
  control <- do.call(lmerControl, c(optimizer = optimizer, quiet))
  suppressMessages(suppressWarnings(lmer(formula, frame, control = control)))
}

for (i in seq_len(nrow(cases))) {
  names <- strsplit(cases$names[i], " ")[[1]]
  frame <- as.data.frame(matrix(readBin(numbers, "double", cases$rows[i] * length(names)), cases$rows[i]))
  names(frame) <- names
  fits <- lapply(c("nloptwrap", "bobyqa"), function(name) {
    tryCatch(fitted_by(name, as.formula(cases$formula[i]), frame), error = function(e) NULL)
  })
  first <- fits[[1]]
  values <- sapply(fits, function(fit) if (is.null(fit)) -Inf else as.numeric(logLik(fit)))
  warned <- is.null(first) || length(first@optinfo$conv$lme4$messages) > 0
  singular <- !is.null(first) && isSingular(first)
  cat(sprintf("%.17g %d %d\n", max(values), warned && !singular, singular))
}
