# Myna's client of the AWS Lambda Runtime API, for Python 3.9 and later. Few imports: their time is the cold start's.
