# The stacked 1-1-1 model of mediation.csv by nlme: Rscript make_mediation.R, in this folder. Person means are taken out by
# orthonormal contrasts within each person and equation; the equations have residual variances of their own.
suppressMessages(library(nlme))
data <- read.csv("mediation.csv")
within <- function(v) {
  n <- length(v); h <- contr.helmert(n); as.vector(t(h) %*% v / sqrt(colSums(h^2)))
}
rows <- do.call(rbind, lapply(split(data, data$person), function(d) {
  x <- within(d$x); m <- within(d$m); y <- within(d$y); o <- 0 * x
  rbind(data.frame(person = d$person[1], eq = "m", z = m, a = x, b = o, c = o),
        data.frame(person = d$person[1], eq = "y", z = y, a = o, b = m, c = x))
}))
fit <- lme(z ~ 0 + a + b + c, random = ~ 0 + a + b + c | person, weights = varIdent(form = ~ 1 | eq), data = rows,
           control = lmeControl(opt = "optim", msMaxIter = 500, tolerance = 1e-10, msTol = 1e-12, returnObject = TRUE))
print(c(logLik = as.numeric(logLik(fit))), digits = 10)
print(fixef(fit), digits = 8); print(vcov(fit), digits = 8)
print(unclass(getVarCov(fit)), digits = 8)
print(c(sigma_m = fit$sigma, ratio = coef(fit$modelStruct$varStruct, unconstrained = FALSE)), digits = 8)
