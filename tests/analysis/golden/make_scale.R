# Reliabilities of the simulated scale in scale.csv, by psych and lme4: Rscript make_scale.R, in this folder.
suppressMessages({library(psych); library(lme4)})
wide <- read.csv("scale.csv")
items <- paste0("item", 1:4)
anova_ <- multilevel.reliability(wide, grp = "person", Time = "time", items = items, aov = TRUE, alpha = FALSE)
print(unlist(anova_[c("RkF", "R1R", "RkR", "Rc", "RkRn", "Rcn")]), digits = 9)
print(anova_$components, digits = 9)
some <- wide[-c(2, 3, 17, 30, 31, 44, 58), ]                       # missed prompts
long <- reshape(some, direction = "long", varying = items, v.names = "value", timevar = "item", idvar = c("person", "time"))
tight <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9))
nested <- lmer(value ~ 1 + (1 | person / time), long, control = tight)
crossed <- lmer(value ~ 1 + (1 | person) + (1 | time) + (1 | item) + (1 | person:time) + (1 | person:item) + (1 | time:item),
                long, control = tight)
for (fit in list(nested, crossed)) print(as.data.frame(VarCorr(fit))[, c("grp", "vcov")], digits = 9)
