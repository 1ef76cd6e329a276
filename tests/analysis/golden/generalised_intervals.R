# Profile intervals of lme4's glmer: Rscript generalised_intervals.R > generalised_intervals.json
suppressMessages({library(lme4); library(jsonlite)})
epil <- MASS::epil
control <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9, maxfun = 1e5), tolPwrss = 1e-12)
fits <- list(
  "y ~ trt + V4 + (1 | subject)" = glmer(y ~ trt + V4 + (1 | subject), epil, family = poisson, offset = lbase, control = control),
  "y ~ trt + period + (1 + period | subject)" = glmer(
    y ~ trt + period + (1 + period | subject), epil, family = poisson, offset = lbase, control = control)
)
limits_of <- function(fit) {
  limits <- suppressWarnings(suppressMessages(confint(fit, oldNames = FALSE, quiet = TRUE, devtol = 1e-6)))
  list(parameters = rownames(limits), lower = unname(limits[, 1]), upper = unname(limits[, 2]))
}
cat(toJSON(list(software = paste("R", getRversion(), "lme4", packageVersion("lme4")), profile = lapply(fits, limits_of)),
  digits = 10, auto_unbox = TRUE, pretty = TRUE), "\n")
