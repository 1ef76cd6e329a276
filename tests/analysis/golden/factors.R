# Several grouping factors in lme4, lmerTest and pbkrtest: Rscript factors.R > factors.json
suppressMessages({library(lmerTest); library(pbkrtest); library(jsonlite)})
plain <- function(name) { d <- as.data.frame(getExportedValue("nlme", name)); d[] <- lapply(d, function(v) if (is.factor(v)) as.character(v) else v); d }
frames <- list(Penicillin = lme4::Penicillin, Pastes = lme4::Pastes, Pixel = plain("Pixel"), Oats = plain("Oats"), Wafer = plain("Wafer"), Assay = plain("Assay"))
models <- list(
  list("Penicillin", "diameter ~ 1 + (1 | plate) + (1 | sample)"),
  list("Pastes", "strength ~ 1 + (1 | batch / cask)"),
  list("Pixel", "pixel ~ day + I(day^2) + (day | Dog) + (1 | Dog:Side)"),
  list("Oats", "yield ~ nitro + Variety + (1 | Block / Variety)"),
  list("Wafer", "current ~ voltage + I(voltage^2) + (voltage | Wafer / Site)"),
  list("Assay", "logDens ~ dilut + (1 | Block) + (1 | Block:sample) + (1 | Block:dilut)")
)
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = 2e-4, rhoend = 2e-9, maxfun = 1e6), calc.derivs = FALSE)
answers <- function(one) {
  fit <- suppressMessages(suppressWarnings(lmer(as.formula(one[[2]]), frames[[one[[1]]]], control = tight)))
  fit <- suppressMessages(suppressWarnings(update(fit, start = getME(fit, "theta"))))
  s <- coef(summary(fit)); k <- coef(summary(fit, ddf = "Kenward-Roger"))
  limits <- suppressWarnings(suppressMessages(confint(fit, oldNames = FALSE, quiet = TRUE)))
  v <- as.data.frame(VarCorr(fit))
  list(data = one[[1]], formula = one[[2]], logLik = as.numeric(logLik(fit)), terms = rownames(s), estimate = unname(s[, 1]), se = unname(s[, 2]),
       df_satterthwaite = unname(s[, "df"]), se_kr = unname(k[, 2]), df_kr = unname(k[, "df"]), singular = isSingular(fit),
       parameters = rownames(limits), lower = unname(limits[, 1]), upper = unname(limits[, 2]))
}
cat(toJSON(list(
  software = paste("R", getRversion(), "lme4", packageVersion("lme4"), "lmerTest", packageVersion("lmerTest"), "pbkrtest", packageVersion("pbkrtest")),
  models = lapply(models, answers)
), digits = 12, auto_unbox = TRUE, pretty = TRUE, na = "null"), "\n")
