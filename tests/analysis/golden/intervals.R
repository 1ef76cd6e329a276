# Profile intervals of lme4: Rscript intervals.R > intervals.json
suppressMessages({library(lme4); library(jsonlite)})
frames <- list(sleepstudy = lme4::sleepstudy, Dyestuff2 = lme4::Dyestuff2, Orthodont = as.data.frame(nlme::Orthodont))
profiles <- list(
  list("sleepstudy", "Reaction ~ Days + (Days | Subject)"),
  list("sleepstudy", "Reaction ~ Days + (Days || Subject)"),
  list("Dyestuff2", "Yield ~ 1 + (1 | Batch)"),
  list("Orthodont", "distance ~ age * Sex + (age | Subject)")
)
profile_of <- function(one) {
  fit <- suppressMessages(lmer(as.formula(one[[2]]), frames[[one[[1]]]], REML = FALSE))
  limits <- suppressWarnings(suppressMessages(confint(fit, oldNames = FALSE, quiet = TRUE)))
  list(data = one[[1]], formula = one[[2]], parameters = rownames(limits), lower = unname(limits[, 1]), upper = unname(limits[, 2]))
}
cat(toJSON(list(
  software = paste("R", getRversion(), "lme4", packageVersion("lme4")),
  profile = lapply(profiles, profile_of)
), digits = 10, auto_unbox = TRUE, pretty = TRUE), "\n")
