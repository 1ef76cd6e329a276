# Makes diary.csv and inference.json: run `Rscript make_inference.R` in this folder.
# R 4.2.2, lme4 1.1-31, pbkrtest 0.5.2, clubSandwich 0.5.8, performance 0.10.2.

suppressMessages({library(lme4); library(pbkrtest); library(clubSandwich); library(performance)})

tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10, maxfun = 1e5),
                     check.conv.singular = "ignore", check.conv.grad = "ignore", check.conv.hess = "ignore")

make_diary <- function() {
  set.seed(11)
  frames <- lapply(1:12, function(i) {
    n <- sample(7:16, 1)
    usual <- rnorm(1)
    own <- c(1.0, 0.6, 0.15) * rnorm(3)
    x <- usual + rnorm(n)
    day <- sort(sample(1:16, n))
    arm <- i %% 3 == 0
    y <- 2 + 0.5 * x + 0.4 * usual - 0.05 * day + 0.8 * arm + own[1] + own[2] * (x - usual) + own[3] * day + rnorm(n)
    data.frame(person = sprintf("p%02d", i), day = day, arm = as.integer(arm), x = x, y = y, flat = x + rnorm(n))
  })
  diary <- do.call(rbind, frames)
  diary[c("x", "y", "flat")] <- round(diary[c("x", "y", "flat")], 4)
  diary
}

kenward_roger <- function(formula, data, contrasts = list()) {
  fit <- lmer(formula, data, control = tight)
  names <- names(fixef(fit))
  adjusted <- vcovAdj(fit)
  wanted <- c(setNames(lapply(seq_along(names), function(k) as.numeric(seq_along(names) == k)), names), contrasts)
  rows <- lapply(wanted, function(w) list(
    weights = w, estimate = sum(w * fixef(fit)), se = sqrt(as.numeric(t(w) %*% adjusted %*% w)),
    se_model = sqrt(as.numeric(t(w) %*% vcov(fit) %*% w)), df = as.numeric(Lb_ddf(matrix(w, 1), vcov(fit), adjusted))))
  list(formula = paste(deparse(formula, 500), collapse = ""), terms = names, singular = isSingular(fit), rows = rows)
}

robust <- function(formula, data) {
  fit <- lmer(formula, data, control = tight)
  tests <- coef_test(fit, vcov = "CR2", test = "Satterthwaite")
  list(formula = paste(deparse(formula, 500), collapse = ""), terms = names(fixef(fit)),
       cr0 = sqrt(diag(as.matrix(vcovCR(fit, type = "CR0")))), cr2 = tests$SE, df = tests$df)
}

# Rights & Sterba (2019), eqs. for total, within and between variance, with person-mean-centred predictors
rights_sterba <- function(fit, within, between, slopes) {
  X <- getME(fit, "X"); b <- fixef(fit); T <- as.matrix(VarCorr(fit)[[1]]); s2 <- sigma(fit)^2
  f1 <- c(b[within] %*% var(X[, within, drop = FALSE]) %*% b[within])
  f2 <- c(b[between] %*% var(X[, between, drop = FALSE]) %*% b[between])
  Z <- cbind(1, X[, slopes, drop = FALSE])
  v <- sum(diag(T %*% var(Z)))
  m <- c(colMeans(Z) %*% T %*% colMeans(Z))
  total <- f1 + f2 + v + m + s2; w <- f1 + v + s2; u <- f2 + m
  list(total_fixed_within = f1 / total, total_fixed_between = f2 / total, total_slopes = v / total,
       total_intercepts = m / total, total_fixed = (f1 + f2) / total, total_fixed_slopes = (f1 + f2 + v) / total,
       total_fixed_slopes_intercepts = (f1 + f2 + v + m) / total,
       within_fixed = f1 / w, within_slopes = v / w, within_fixed_slopes = (f1 + v) / w,
       between_fixed = f2 / u, between_intercepts = m / u)
}

diary <- make_diary()
write.csv(diary, "diary.csv", row.names = FALSE, quote = FALSE)
usual <- ave(diary$x, diary$person)
diary$xw <- diary$x - usual
diary$xb <- usual - mean(tapply(usual, diary$person, mean))
split <- lmer(y ~ xw + xb + arm + (1 + xw | person), diary, control = tight)
nakagawa <- function(fit) as.numeric(unlist(r2_nakagawa(fit))[c(2, 1)])
sleep <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy, control = tight)
slope <- lmer(y ~ x + day + (1 + x + day | person), diary, control = tight)

answers <- list(
  kenward_roger = list(
    sleepstudy = kenward_roger(Reaction ~ Days + (Days | Subject), sleepstudy, list(both = c(1, 5))),
    sleepstudy_uncorrelated = kenward_roger(Reaction ~ Days + (Days || Subject), sleepstudy),
    three_terms = kenward_roger(y ~ x + day + arm + (1 + x + day | person), diary),
    split = kenward_roger(y ~ xw + xb + day + arm + (1 + xw | person), diary, list(contextual = c(0, -1, 1, 0, 0))),
    uncorrelated = kenward_roger(y ~ x + day + arm + (1 + x + day || person), diary),
    two_blocks = kenward_roger(y ~ x + day + (1 + x | person) + (0 + day | person), diary),
    singular = kenward_roger(flat ~ x + day + (1 + x | person), diary)),
  cr2 = list(
    split = robust(y ~ xw + xb + day + arm + (1 + xw | person), diary),
    chicks = robust(weight ~ Time + Diet + (Time | Chick), ChickWeight),
    sleepstudy = robust(Reaction ~ Days + (Days | Subject), sleepstudy)),
  nakagawa = list(sleepstudy = nakagawa(sleep), split = nakagawa(split), slope = nakagawa(slope)),
  rights_sterba = rights_sterba(split, "xw", c("xb", "arm"), "xw"))
writeLines(jsonlite::toJSON(answers, digits = NA, auto_unbox = TRUE, pretty = TRUE), "inference.json")
