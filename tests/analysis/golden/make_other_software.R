# Fits of public data sets by lme4 1.1-31, nlme 3.1-162 and ordinal 2022.11-16 (R 4.2.2), for test_other_software.py.
suppressMessages({library(lme4);library(nlme);library(ordinal);library(jsonlite)})
out<-list(); put <- function(n, d) NULL
rec<-function(n,data,call,fit,fx,se,sds) out[[n]]<<-list(data=data,call=call,ll=as.numeric(logLik(fit)),fixed=as.list(unname(fx)),se=as.list(unname(se)),sd=as.list(sds))
t<-function(e) tryCatch(e,error=function(x) cat("ERR",conditionMessage(x),"\n"))
vs<-function(m){ v<-as.data.frame(VarCorr(m)); v<-v[is.na(v$var2)&v$grp!="Residual",]; setNames(as.list(v$sdcor),paste(v$grp,v$var1)) }
lm1<-function(n,dn,f,d,REML=TRUE){ m<-lmer(f,d,REML=REML,control=lmerControl(calc.derivs=FALSE,optimizer="bobyqa",optCtrl=list(rhoend=1e-9))); put(dn,d); rec(n,dn,paste(deparse(f,500),if(REML)"REML" else "ML"),m,fixef(m),sqrt(diag(as.matrix(vcov(m)))),vs(m)) }
t(lm1("cake","cake",angle~recipe*temp+(1|recipe:replicate),transform(cake,temperature=as.character(temperature))))
t({o<-as.data.frame(nlme::Oats);lm1("oats","oats",yield~nitro+(1|Block/Variety),o)})
t({o<-as.data.frame(nlme::Pixel);lm1("pixel","pixel",pixel~day+I(day^2)+(day|Dog)+(1|Dog:Side),o)})
t({o<-as.data.frame(nlme::Assay);lm1("assay","assay",logDens~sample+dilut+(1|Block)+(1|Block:sample)+(1|Block:dilut),o)})
t(lm1("dye2","dye2",Yield~1+(1|Batch),Dyestuff2))
t(lm1("va_lin","va",I(as.numeric(r2=="Y"))~Anger+btype+(btype|id)+(1|item),VerbAgg))
g1<-function(n,dn,f,d,fam,fstr,w=NULL){ m<-if(is.null(w)) glmer(f,d,family=fam,control=glmerControl(optimizer="bobyqa",tolPwrss=1e-12,optCtrl=list(maxfun=1e5,rhoend=1e-9))) ; put(dn,d); rec(n,dn,paste(deparse(f,500),fstr),m,fixef(m),sqrt(diag(as.matrix(vcov(m,use.hessian=TRUE)))),vs(m)) }
t(g1("va_slope","va",I(as.numeric(r2=="Y"))~Anger+Gender+btype+situ+(1|id)+(1|item),VerbAgg,binomial,"binomial"))
t(g1("va_bt","va",I(as.numeric(r2=="Y"))~Anger+btype+(btype|id)+(1|item),VerbAgg,binomial,"binomial"))
t(g1("va_nest","va",I(as.numeric(r2=="Y"))~Anger+btype+(1|id/situ),VerbAgg,binomial,"binomial"))
t(g1("gt2","gt",TICKS~YEAR+scale(HEIGHT)+(1|LOCATION/BROOD),grouseticks,poisson,"poisson"))
c1<-function(n,dn,f,d,link){ m<-clmm(f,data=d,link=link); put(dn,d); v<-VarCorr(m); s<-sqrt(diag(vcov(m))); rec(n,dn,paste(deparse(f,500),link),m,coef(m),s[seq_along(coef(m))],setNames(lapply(v,function(z) sqrt(z[1,1])),names(v))) }
t(c1("soup","soup",SURENESS~PROD+DAY+(1|RESP)+(1|RESP:PROD),soup,"logit"))
t(c1("wine2","wine",rating~temp+contact+(1|judge)+(1|bottle),wine,"probit"))
l1<-function(n,dn,m,d,str){ put(dn,d); s<-summary(m)$tTable; rec(n,dn,str,m,s[,1],s[,2],list(sigma=m$sigma,phi=as.numeric(coef(m$modelStruct$corStruct,unconstrained=FALSE)))) }
t({b<-as.data.frame(nlme::BodyWeight); m<-lme(weight~Time*Diet,b,random=~Time|Rat,correlation=corCAR1(form=~Time|Rat)); l1("bw","bw",m,b,"car1")})
t({b<-as.data.frame(nlme::Dialyzer); b<-b; m<-lme(rate~pressure+I(pressure^2)+QB,b,random=~1|Subject,correlation=corAR1(form=~index|Subject)); l1("dial","dial",m,b,"ar1")})
writeLines(toJSON(out,auto_unbox=TRUE,digits=12,force=TRUE), "other_software.json")
