# Makes glmm.json from glmm.csv (make_glmm.py): run `Rscript make_glmm.R` in this folder.
# R 4.2.2, lme4 1.1-31, glmmTMB 1.1.5, ordinal 2022.11-16.

suppressMessages({library(lme4); library(glmmTMB); library(ordinal); library(jsonlite)})

frame <- read.csv("glmm.csv")
frame$g <- factor(frame$g)
frame$share <- frame$few / frame$size
frame$rating <- factor(frame$rating, ordered = TRUE)

tight <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 1e-3, rhoend = 1e-9, maxfun = 1e5), tolPwrss = 1e-13)
tmb <- function(formula, ...) {
  control <- glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 1e4))
  fit <- glmmTMB(formula, frame, control = control, ...)
  own <- summary(fit)$coefficients$cond
  list(logLik = as.numeric(logLik(fit)), fixed = own[, 1], se = own[, 2], cov = unclass(VarCorr(fit)$cond$g)[, , drop = FALSE],
       size = sigma(fit))
}
glmer7 <- function(formula, ...) {
  fit <- glmer(formula, frame, nAGQ = 7, control = tight, ...)
  own <- coef(summary(fit))
  list(fixed = own[, 1], se = own[, 2], cov = as.matrix(VarCorr(fit)$g)[, , drop = FALSE])
}
cumulative <- function(formula, ...) {
  fit <- clmm(formula, frame, control = clmm.control(gradTol = 1e-6), ...)
  own <- coef(summary(fit))
  thresholds <- seq_along(fit$alpha)
  list(logLik = as.numeric(logLik(fit)), fixed = own[-thresholds, 1], se = own[-thresholds, 2],
       thresholds = own[thresholds, 1], thresholds_se = own[thresholds, 2], cov = as.matrix(VarCorr(fit)$g)[, , drop = FALSE])
}

models <- list(
  poisson_slope = tmb(count ~ x + t + offset(log_exposure) + (1 + x | g), family = poisson),
  poisson_agq = glmer7(count ~ x + t + offset(log_exposure) + (1 | g), family = poisson),
  negative_binomial = tmb(spread ~ x + t + offset(log_exposure) + (1 | g), family = nbinom2),
  negative_binomial_slope = tmb(spread ~ x + t + (1 + x | g), family = nbinom2),
  probit_slope = tmb(yes ~ x + t + (1 + x | g), family = binomial(link = "probit")),
  probit_agq = glmer7(yes ~ x + t + (1 | g), family = binomial(link = "probit")),
  cloglog_slope = tmb(share ~ x + t + (1 + x | g), weights = frame$size, family = binomial(link = "cloglog")),
  ordinal_logit_slope = cumulative(rating ~ x + t + (1 + x | g), link = "logit"),
  ordinal_probit_slope = cumulative(rating ~ x + t + (1 + x | g), link = "probit"),
  ordinal_probit_agq = cumulative(rating ~ x + t + (1 | g), link = "probit", nAGQ = 9)
)
writeLines(toJSON(models, digits = 12, auto_unbox = TRUE, pretty = TRUE), "glmm.json")
